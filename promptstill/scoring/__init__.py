"""Scores of a prompt on rows, and its report on the test split."""
