"""Find and read images: local files now, catalogues beside them."""
