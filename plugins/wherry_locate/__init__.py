"""The locators that come with wherry: from a CID to addresses of peers that may have it (specs/0018)."""
