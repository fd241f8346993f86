"""Distil a prompt into a small model. Light to import: torch, peft and transformers load in `train` alone."""
