"""How often a caller may ask, and how many may be served at once."""
