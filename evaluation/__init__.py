"""Protocols in CSV files, error rates, benchmarks, the simulated camera."""
