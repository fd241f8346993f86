"""What the three commands share on a terminal: help, exit codes, tables."""
