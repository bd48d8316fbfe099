"""Training explainers of text classifiers: texts as the material of the loop that photos have."""
