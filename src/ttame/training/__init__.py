"""Training an attention head beside a frozen classifier."""
