"""Files on the volume: artifact, manifest, notes, cleanup."""
