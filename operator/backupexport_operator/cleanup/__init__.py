"""What remains to be removed: files, expired exports, finalizers."""
