"""Class activation mapping and its variants."""
