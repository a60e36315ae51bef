"""Second players beside an objective: a module for each record in ddpipe/settings/regularisers."""
