"""Rules that pick real images: a record a module."""
