"""What is written to Kubernetes, as plain objects: Jobs, status changes, Events. Pure."""
