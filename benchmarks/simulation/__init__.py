"""Whole searches in simulated worlds whose truth is known."""
