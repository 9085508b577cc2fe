"""From a BackupExport to its end."""
