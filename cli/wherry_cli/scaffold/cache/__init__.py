"""The cache vendor.name: blocks in memory, the least recently used forgotten first."""
