"""The observers that come with wherry: ``log`` writes JSON lines, ``prometheus`` exposes metrics (specs/0019)."""
