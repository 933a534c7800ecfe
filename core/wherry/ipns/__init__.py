"""Names that lead to changing content: IPNS names and their signed records (specs/0034). Pure."""
