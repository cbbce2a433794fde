"""From cutouts to a trained encoder."""
