"""How an endpoint is asked: the client, the store of its completions, and the limits of a run."""
