"""From an encoder to the space of shapes."""
