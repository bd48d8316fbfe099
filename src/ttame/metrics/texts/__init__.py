"""Numbers that say how good a map of a text is; arrays only, no network and no tensors."""
