"""Benchmarks that need no torch here, and what shows the reports of all of them."""
