"""vLLM on this machine, and the models that it serves."""
