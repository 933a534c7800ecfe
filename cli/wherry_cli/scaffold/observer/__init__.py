"""The observer vendor.name: counts what happens, in a file."""
