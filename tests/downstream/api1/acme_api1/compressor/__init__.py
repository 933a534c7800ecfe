"""The compressor acme.compressor: zlib."""
