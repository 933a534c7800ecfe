"""The Trustless Gateway and the path gateway, on the server of the ``http`` transport (specs/0033)."""
