"""Judging what was generated: figures of a set of outputs, by names of the field."""
