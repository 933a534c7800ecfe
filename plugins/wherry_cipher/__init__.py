"""wherry's built-in ciphers: ``xchacha20poly1305`` and ``chacha20poly1305`` (specs/0006 §7)."""
