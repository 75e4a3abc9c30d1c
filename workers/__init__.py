"""The GPU side: Celery tasks, and `analysis`, a plain torch library."""
