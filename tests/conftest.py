"""What all tests have in common."""

from hypothesis import settings

# Machines here are half as fast as others, and busy: how long an example took says nothing.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
