"""Tests of the transport vendor.name."""
