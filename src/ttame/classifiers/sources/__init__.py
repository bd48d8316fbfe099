"""The libraries that networks come from, one file each."""
