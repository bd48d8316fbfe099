"""Tiny classifiers and photos for examples and tests; nothing else of ttame imports this room."""

from ttame.testing.tiny_classifiers import tiny_classifier
from ttame.testing.tiny_photos import tiny_photos
from ttame.testing.tiny_texts import tiny_text_classifier

__all__ = ["tiny_classifier", "tiny_photos", "tiny_text_classifier"]
