"""Whether the storages work: a small Job for each, from time to time."""
