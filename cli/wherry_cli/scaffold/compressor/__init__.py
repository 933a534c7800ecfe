"""The compressor vendor.name: zlib."""
