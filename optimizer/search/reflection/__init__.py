"""The steps of reflection: parents and their failures, what a proposer is asked, and the test that a child must pass."""
