"""Integrated gradients: the rule, where its points go, the error it states."""
