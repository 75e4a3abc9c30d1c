"""`polyseme vectors`: directions of one's own that jobs analyse as units."""
