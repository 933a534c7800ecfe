"""wherry's built-in caches: ``disk``, ``memory`` and ``tiered`` (specs/0006 §4)."""
