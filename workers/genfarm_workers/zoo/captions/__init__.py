"""A small model that says in words what a picture of a digit shows, and its training."""
