"""The entry point ``wherry``. It imports nothing heavy itself, so that an early Ctrl-C ends without a traceback."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    try:
        from wherry_cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before, or behind, the part that words it
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
