"""What integration tests share: the command line as real processes, each with a home of its own."""

from processes import environ, launcher, start, wherry

__all__ = ["environ", "launcher", "start", "wherry"]
