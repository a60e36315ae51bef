"""`ddpipe check`: mistakes in params.yaml and the recipes, found before anything runs and without torch."""
