"""What lies around the stages: how they are run, locks, DVC's records, results, what to do about damaged files."""
