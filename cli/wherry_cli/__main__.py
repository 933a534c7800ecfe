"""``python -m wherry_cli`` is ``wherry``."""

from wherry_cli.main import main

main()
