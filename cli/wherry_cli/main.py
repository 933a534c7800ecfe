"""The entry point ``wherry``. It imports nothing heavy itself, so that an early Ctrl-C ends without a traceback."""

from __future__ import annotations

import gc
import sys

# Millions of small tuples come and go in a run, and none of them in cycles: looking for cycles every 700 of them costs 3 %.
GC_THRESHOLDS = (20_000, 50, 50)


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        from wherry_cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before, or behind, the part that words it
        code = 130
    except RuntimeError as problem:  # Python 3.11 makes one of a Ctrl-C while a class is being made
        if not isinstance(problem.__cause__, KeyboardInterrupt):
            raise
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
