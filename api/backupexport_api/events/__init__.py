"""A job's changes as Server-Sent Events."""
