"""Sites, alerts and histories as files that open where people work."""
