"""Worlds of rules: a model that is right where its prompt holds the hidden rules that a row needs."""
