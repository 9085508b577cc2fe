"""Which replica acts: the Lease, the election, the terms of leading."""
