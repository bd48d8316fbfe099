"""Explaining many photos by several methods, batch by batch."""
