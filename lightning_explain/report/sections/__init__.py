"""Sections of the page: heatmaps, neurons, single units, decision paths."""
