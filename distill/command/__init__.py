"""What distill shows on a terminal: its options and its progress."""
