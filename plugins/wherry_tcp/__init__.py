"""Blocks between two nodes over one connection, both ways: TCP, TLS 1.3 and Unix sockets (specs/0004)."""
