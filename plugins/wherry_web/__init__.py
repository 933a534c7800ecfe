"""Blocks from plain web servers that hold the same files and have never heard of CIDs (specs/0020)."""
