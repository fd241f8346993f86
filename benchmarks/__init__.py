"""What the project measures about itself: searches side by side, honest intervals, speed. See README.md."""
