"""Measurements; each module writes its own section of BENCHMARKS.md."""
