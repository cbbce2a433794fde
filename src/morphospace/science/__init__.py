"""From the space of shapes to physics and labels."""
