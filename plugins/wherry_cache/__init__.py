"""wherry's built-in caches: ``disk`` and ``memory`` (specs/0006 §4)."""
