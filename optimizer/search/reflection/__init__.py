"""Parts of reflection: parents, what failed, what a proposer is asked, and the test that a child must pass."""
