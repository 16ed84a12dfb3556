"""Sites followed in a store: landing, layers, reviews, lists, exports, reports."""
