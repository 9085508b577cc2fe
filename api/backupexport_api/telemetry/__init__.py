"""The routes /metrics, /healthz and /readyz, and what they tell."""
