"""Reading and writing files: whole, bounded, and whatever their names."""
