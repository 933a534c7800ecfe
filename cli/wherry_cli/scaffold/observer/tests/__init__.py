"""Tests of the observer vendor.name."""
