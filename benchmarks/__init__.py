"""Benchmarks of speed, memory and overhead; `make bench` runs all of them."""
