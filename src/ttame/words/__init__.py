"""Texts as tokens and words: which token stands where, and what belongs to which word."""
