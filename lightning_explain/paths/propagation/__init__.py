"""Relevance through a network that is cut at its units: messages between them, and the flow of a decision."""
