"""The locator acme.locator: addresses from a file."""
