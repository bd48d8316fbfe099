"""A prediction and its maps as one module without hooks, and as one file."""
