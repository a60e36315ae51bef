"""What the set must imitate (survey sections 3 and 4): a record a module."""
