"""Prompts scored on test as they stand, without a search: `optimize RECIPE --measure FILE…`."""
