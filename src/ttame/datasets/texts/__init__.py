"""Texts with labels and human rationales, for measuring."""
