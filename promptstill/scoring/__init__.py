"""Scores of a prompt on rows, its report on the test split, and rivals that need no model."""
