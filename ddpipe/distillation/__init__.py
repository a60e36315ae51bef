"""The loop that learns a set (survey section 2): its outer optimisers, moving average and checkpoints."""
