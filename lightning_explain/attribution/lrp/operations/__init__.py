"""What each torch operation becomes when relevance passes through it."""
