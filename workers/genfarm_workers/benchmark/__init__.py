"""Benchmarks that need a model: each a program that prints one report as JSON."""
