"""What a Trustless Gateway and a path gateway decide, without any I/O of the network (specs/0033)."""
