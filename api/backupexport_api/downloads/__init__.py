"""A finished file, fetched with a token or by a link."""
