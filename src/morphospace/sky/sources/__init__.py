"""Where images come from: files, arrays, records, tables with paths, positions in mosaics."""
