"""Tests of the cache vendor.name."""
