"""The transport vendor.name: blocks over TCP."""
