"""Relevance propagation through a network's own modules."""
