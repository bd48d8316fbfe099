"""Explainers with a trained attention head: T-TAME, TAME, L-CAM."""
