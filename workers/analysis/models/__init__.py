"""Models in memory: found, loaded, hashed, run with hooks. Knows nothing of what is kept of it."""
