"""Is there a live person: the presentation attack detection network."""
