"""Benchmarks of what asks: each a program that holds the farm against its peers and its limits."""
