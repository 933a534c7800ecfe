"""Blocks over HTTP: batches in one streaming answer, contiguous leaves by sendfile (specs/0008)."""
