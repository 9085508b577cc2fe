"""The conditions of ExportTargets."""
