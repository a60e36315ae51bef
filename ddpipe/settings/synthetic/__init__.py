"""What is learned (survey section 5): a record a module."""
