"""Training: optimisers, the loop over batches, several networks at once, gradients through a network's steps."""
