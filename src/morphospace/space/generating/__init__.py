"""What a trained autoencoder can tell and make: one concern, one file; `morphospace.space.generate` gathers them."""
