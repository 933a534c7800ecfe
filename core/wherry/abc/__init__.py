"""The contracts that plugins implement, one module a kind. Nothing here does anything."""
