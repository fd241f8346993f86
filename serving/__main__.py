"""`python -m serving` is the command `serve`."""

from serving.cli import main

main()
