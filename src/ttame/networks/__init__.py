"""A borrowed network at work: freezing, hooks, tracing, replacing operations, weights."""
