"""Second players beside an objective: a record a module."""
