"""Methods that are computed, not trained; one paper a file."""
