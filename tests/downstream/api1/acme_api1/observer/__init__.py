"""The observer acme.observer: counts what happens, in a file."""
