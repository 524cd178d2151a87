"""Benchmarks: learning runs over seeds, and interleaved timings."""
