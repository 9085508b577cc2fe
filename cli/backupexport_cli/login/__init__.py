"""Which servers there are, and the tokens for them: got, kept, refreshed, given back."""
