"""The service as processes of one machine: started, watched and stopped. Knows nothing of jobs."""
