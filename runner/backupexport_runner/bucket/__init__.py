"""Finished files as objects of a bucket: each whole under its name, or not there."""
