"""What several programs share and is not pure: files, certificates, logs, the cluster."""
