"""Photos, their preprocessing, masking them, and maps as arrays."""
