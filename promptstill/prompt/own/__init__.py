"""A prompt that the user wrote whole: read from a file, sent as it stands, and written back in the same form."""
