"""Methods that change the image and look again."""
