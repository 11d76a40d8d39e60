"""A small GPT-2 that continues Python, the sources that it read, and its training."""
