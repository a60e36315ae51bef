"""`ddpipe judge`: distilled sets that others published, measured here beside what was published of them."""
