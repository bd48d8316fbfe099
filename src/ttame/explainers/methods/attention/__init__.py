"""Methods that read the attention of a Vision Transformer."""
