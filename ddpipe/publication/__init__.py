"""What was published for an evaluation, and how what ran differs from it: the state of a result (ddpipe/states.py)."""
