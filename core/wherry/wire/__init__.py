"""The native exchange between two nodes, without any I/O: messages, framing, states (specs/0004). Pure and deterministic."""
