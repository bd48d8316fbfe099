"""What every method fulfils and may rely on."""
