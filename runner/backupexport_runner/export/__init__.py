"""The task `export`: dump, compress, hash, write."""
