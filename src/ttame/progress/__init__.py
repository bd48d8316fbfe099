"""How far long work is: the same on the command line, in Python and in notebooks."""
