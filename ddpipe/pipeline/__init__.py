"""What knows DVC: its graph, its lock, and how stages are run and recorded."""
