"""Exemplars of a neuron monitor: collected as a validation passes, fetched from its data, shown."""
