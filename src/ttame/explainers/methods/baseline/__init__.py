"""Maps that know nothing, to compare with."""
