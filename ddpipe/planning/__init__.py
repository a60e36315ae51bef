"""What `dvc repro` would do and what it would cost: DVC's records -> steps -> network passes -> seconds and bytes."""
