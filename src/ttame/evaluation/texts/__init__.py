"""Which method is faithful on texts, and finds the words that people marked."""
