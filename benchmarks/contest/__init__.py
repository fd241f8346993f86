"""Prompt searches side by side: our search, its variants and its peers, with the same rows and cap on calls."""
