"""The cipher acme.cipher: XChaCha20-Poly1305 by PyNaCl."""
