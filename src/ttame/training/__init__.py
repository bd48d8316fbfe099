"""Training an attention head for a frozen classifier."""
