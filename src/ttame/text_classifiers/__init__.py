"""Text classifiers: a borrowed network with its tokenizer, and where networks come from."""
