"""Weights other than those in memory: sharded over processes, in checkpoint files, in other modules."""
