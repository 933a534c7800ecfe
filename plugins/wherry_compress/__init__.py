"""wherry's built-in compressors: ``zstd`` and ``lz4`` (specs/0015)."""
