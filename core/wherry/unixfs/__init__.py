"""UnixFS: files and directories in the public format over dag-pb (specs/0031)."""
