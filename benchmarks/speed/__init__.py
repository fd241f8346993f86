"""What the client, the middleware, the students, the training loop and our own code cost in time and memory."""
