"""Stand-alone pages for people: one HTML file that needs no other."""
