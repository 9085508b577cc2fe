"""Who calls, and for which projects."""
