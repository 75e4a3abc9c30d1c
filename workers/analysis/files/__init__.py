"""Files by name: arrays in archives, folders made once. Knows nothing of what is in them."""
