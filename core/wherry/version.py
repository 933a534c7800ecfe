"""The version of wherry: the one place where it is written. The build reads it from here, and needs no git."""

__version__ = "0.1.0"
