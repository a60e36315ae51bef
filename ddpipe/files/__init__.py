"""Files as such: written whole or not at all, read with bounds, checked against what was written."""
