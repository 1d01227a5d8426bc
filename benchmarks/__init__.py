"""What measures speed, memory and overhead; `make bench` runs all of it."""
