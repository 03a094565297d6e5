"""What was done to disturb, kill and mislead a run; `benchmarks/reliability.py` runs all of it."""
