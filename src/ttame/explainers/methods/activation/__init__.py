"""Class activation mapping and its kin."""
