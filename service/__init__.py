"""The HTTP API (Flask), and the sender of webhooks. Knows neither torch nor the workers."""
