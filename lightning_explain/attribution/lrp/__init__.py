"""Layer-wise relevance propagation: rules, and the trace that writes them into a model's own backward pass."""

from lightning_explain.attribution.lrp.method import LRP as LRP
