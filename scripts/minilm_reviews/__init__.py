"""How ``minilm_reviews``, the classifier of reviews that works offline, was fine-tuned."""
