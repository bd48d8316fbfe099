"""Frozen networks with their preprocessing, class names and feature taps."""
