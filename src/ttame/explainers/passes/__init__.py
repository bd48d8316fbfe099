"""Ways to run a network that several methods share."""
