"""Bringing exports that have ended to their owners."""
