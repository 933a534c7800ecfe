"""The locator vendor.name: addresses from a file."""
