"""Model packages and what runs them."""
