"""The projects that a caller may export, and how each is doing."""
