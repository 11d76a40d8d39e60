"""A small GPT-2 that tells little stories, the grammar that wrote its corpus, and its training."""
