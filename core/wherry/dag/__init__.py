"""Building DAGs from ordered leaves, and walking them lazily. Pure: no file, no network, no clock."""
