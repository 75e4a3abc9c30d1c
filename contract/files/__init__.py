"""Files that the API and the workers share: the store, corpora, results. Knows no board."""
