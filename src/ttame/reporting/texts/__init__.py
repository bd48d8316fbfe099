"""Pages and files about explained texts."""
