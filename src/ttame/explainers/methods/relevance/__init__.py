"""Methods that propagate relevance through the network."""
