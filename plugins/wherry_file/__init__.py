"""Blocks from a mounted disk: another wherry home, or a plain copy of the dataset (specs/0012)."""
