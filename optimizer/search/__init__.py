"""The search: which candidates are tried, on how many rows, and which of them wins."""
