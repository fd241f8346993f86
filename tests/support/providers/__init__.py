"""Endpoints in this process that behave as providers do: they refuse what the real ones are known to refuse.

Each file names its sources, the day on which they were looked up, and what is assumed. They answer by a function, as
`FakeEndpoint` does.
"""
