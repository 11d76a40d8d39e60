"""Tests of the engines and of the engine process."""
