"""Counting of active neurons in the batches of training and validation."""
