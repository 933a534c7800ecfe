"""Torrents, through a process of its own that runs libtorrent (specs/0036)."""
