"""The chunker acme.chunker: cuts files at the ends of lines."""
