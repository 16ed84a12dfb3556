"""A map as a folder of files, which any web space can host."""
