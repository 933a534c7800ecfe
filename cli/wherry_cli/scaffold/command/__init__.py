"""The command vendor.name: a table of what this home holds."""
