"""Methods that say which places of an image speak for a class."""
