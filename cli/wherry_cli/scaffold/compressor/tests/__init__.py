"""Tests of the compressor vendor.name."""
