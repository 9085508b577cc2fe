"""The command line: asks the api, or Kubernetes, for exports; fetches and checks their files."""

__version__ = "0.1.0"
