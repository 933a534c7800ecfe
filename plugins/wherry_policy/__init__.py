"""The policies that come with wherry: which peer is asked for which job next (specs/0017)."""
