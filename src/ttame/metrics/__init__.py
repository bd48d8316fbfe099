"""Numbers that say how faithful a map is; one value per image."""
