"""Programs around the project that are no part of its packages: the demo of the whole loop."""
