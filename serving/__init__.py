"""Serve prompts and distilled models behind one vLLM endpoint. Imports none of DSPy, Optuna, torch and vLLM."""

from serving.client import Client

__all__ = ["Client"]
