"""Frozen results that something else draws."""
