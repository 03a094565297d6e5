"""The effect of torch operations on the axes of tensors, one rule for each kind."""
