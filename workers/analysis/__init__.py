"""Neuron analysis as a plain torch library: no queue, no HTTP, no environment."""
