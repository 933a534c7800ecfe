"""Tests of the locator vendor.name."""
