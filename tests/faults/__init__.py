"""Faults on purpose, and what is certain afterwards."""
