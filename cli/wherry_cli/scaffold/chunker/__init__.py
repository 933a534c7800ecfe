"""The chunker vendor.name: cuts files at the ends of lines."""
