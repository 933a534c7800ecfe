"""Blocks from objects of S3 and of what speaks like it, by obstore (specs/0020 §7)."""
