"""Tensors to pictures: uint8 [height, width, 3], no I/O."""
