"""Worlds of rules."""
