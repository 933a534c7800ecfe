"""Encryption end to end: keys, sealed blocks, and the header that says who may open them (specs/0016, specs/0021)."""
