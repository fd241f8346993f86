"""`optimize --tour`: a small search replayed from a record of its replies, each line of its output explained."""
