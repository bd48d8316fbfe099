"""The notebooks of ``examples/``, from readable sources."""
