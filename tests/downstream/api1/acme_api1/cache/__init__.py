"""The cache acme.cache: blocks in memory, the least recently used forgotten first."""
