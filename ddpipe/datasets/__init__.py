"""Real images: readers of their sources, preprocessing, prepared form on disk, one split resident on the device."""
