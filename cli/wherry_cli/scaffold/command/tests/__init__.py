"""Tests of the command vendor.name."""
