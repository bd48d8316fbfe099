"""How the bundled transformer ``hybrid_vit_lite0`` was trained; see its card for the commands."""
