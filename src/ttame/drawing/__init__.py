"""Pictures from heatmaps: colour scales, overlays on photos, one panel per image."""
