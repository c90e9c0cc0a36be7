"""What a face is to us: types, detection, alignment, quality, embedding, comparison (the shared kernel)."""
