"""Tests of the cipher vendor.name."""
