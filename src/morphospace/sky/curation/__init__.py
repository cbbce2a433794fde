"""The steps of a curation: from images to objects, from objects to rows, and the report."""
