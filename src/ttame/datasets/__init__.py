"""Photos for training and measuring, wherever they lie, as the inputs of a network."""
