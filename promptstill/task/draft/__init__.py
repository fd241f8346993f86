"""The recipe that `optimize --new FILE.py --from ROWS` writes: columns looked at, a task proposed, its text."""
