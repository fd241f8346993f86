"""Endpoints in this process that behave as a provider's documentation says: they refuse what the real ones refuse.

Each file names the documentation and the day on which it was read. They answer by a function, as `FakeEndpoint` does.
"""
