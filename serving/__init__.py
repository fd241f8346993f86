"""Serve prompts and distilled models behind one vLLM endpoint. Imports neither DSPy, Optuna, torch nor vLLM."""

from serving.client import Client

__all__ = ["Client"]
