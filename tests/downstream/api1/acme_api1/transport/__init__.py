"""The transport acme.transport: blocks over TCP."""
