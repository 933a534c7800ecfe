"""The command acme.command: a table of what this home holds."""
