"""`python -m benchmarks.contest`: see contest.py."""

from benchmarks.contest.contest import main

main()
