"""How often the reported intervals hold the truth, and how often a false gain would be shipped."""
