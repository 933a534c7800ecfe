"""Tests of the policy vendor.name."""
