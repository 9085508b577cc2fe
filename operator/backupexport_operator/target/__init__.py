"""The Ready condition of ExportTargets."""
