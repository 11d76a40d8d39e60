"""Watching tasks while they run."""
