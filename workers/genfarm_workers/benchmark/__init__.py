"""Benchmarks that need a model: modules with `main`, each printing one report as JSON."""
