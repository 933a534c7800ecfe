"""What integration tests share: the command line as real processes, each with a home of its own."""

from processes import environ, start, wherry

__all__ = ["environ", "start", "wherry"]
