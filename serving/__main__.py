"""`python -m serving` is `serve`."""

from serving.cli import main

main()
