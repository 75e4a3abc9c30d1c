"""The board: the state of jobs, units, workers, corpora, batches and tenants in Redis.

Everything on it is atomic; it decides nothing, and knows neither HTTP nor models.
"""
