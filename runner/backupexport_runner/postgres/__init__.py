"""The server and its programs: Secret, libpq, preflight, pg_dump, and how they fail."""
