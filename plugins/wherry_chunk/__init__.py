"""wherry's content-defined chunker: ``fastcdc`` (specs/0003 §8)."""
