"""From files to cutouts: knows FITS, noise and sources; knows nothing of networks."""
