"""The cipher vendor.name: XChaCha20-Poly1305 by PyNaCl."""
