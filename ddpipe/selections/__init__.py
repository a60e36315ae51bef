"""Coresets: real images chosen as a set (the baselines of the survey's tables)."""
