"""Measurements of the served endpoint; each module says how to run it."""
