"""Which networks judge the set: a record a module."""
