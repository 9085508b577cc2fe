"""The REST API: makes BackupExports and shows how they are doing, see `docs/architecture.md`."""
