"""`python -m ddpipe.cli`: the command where nothing is installed."""

from ddpipe.cli import main

main()
