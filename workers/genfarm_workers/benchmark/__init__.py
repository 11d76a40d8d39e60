"""Benchmarks of engines, and the arms that hold a model for other benchmarks."""
