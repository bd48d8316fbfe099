"""Methods that differentiate down to the pixels."""
