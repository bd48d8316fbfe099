"""Explaining batch after batch of texts."""
