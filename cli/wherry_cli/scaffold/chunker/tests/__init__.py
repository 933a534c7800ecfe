"""Tests of the chunker vendor.name."""
