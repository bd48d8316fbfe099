"""Images whose decisive region is known, and a small Vision Transformer that is trained on them."""
