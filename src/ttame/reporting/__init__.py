"""Folders and pages that people look at, written from results."""
