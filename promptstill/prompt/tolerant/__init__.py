"""Replies as models write them: what is read where a layout's own reader (reply.py) reads nothing.

read.py puts it together. marks.py finds values that a label, a key or a marker names, plain.py finds the value of a
reply that marks none, mentions.py says which values of a type a text names, values.py reads one value. Nothing here
chooses between two values: such a reply stays unread, and `Undecided` says so. Free text is taken as it stands.
"""
