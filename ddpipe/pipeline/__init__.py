"""What lies around the stages: locks, DVC's records, results, and what to do about damaged files."""
