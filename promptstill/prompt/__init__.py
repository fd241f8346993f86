"""The prompt: how inputs become messages, and how replies are read. Only layouts/ loads DSPy."""
