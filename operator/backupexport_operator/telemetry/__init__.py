"""Metrics, the state behind the gauges, and the server of /healthz, /readyz and /metrics."""
