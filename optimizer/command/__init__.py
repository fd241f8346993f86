"""What optimize shows on a terminal: its options, its progress, its summary."""
