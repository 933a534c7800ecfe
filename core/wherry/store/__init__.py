"""The store: where blocks lie on this machine. Files are the store (D3); databases only say where and what."""
