"""Words and types that every room shares; imports no other room."""
