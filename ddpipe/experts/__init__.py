"""Networks trained on the real data, and the buffers that hold their trajectories."""
