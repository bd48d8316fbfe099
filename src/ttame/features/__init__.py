"""Where a network is read, and what is read there."""
