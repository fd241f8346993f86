"""The comparison of prompt and student on test, and the checks of the trained adapter."""
