"""Torrents of datasets, so that a gateway is a web seed for ordinary BitTorrent clients (specs/0036)."""
