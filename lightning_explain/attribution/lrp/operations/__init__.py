"""Rules of torch operations for relevance."""
