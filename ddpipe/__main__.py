"""`python -m ddpipe`: the command where its script is not on the path."""

from ddpipe.cli import main

main()
