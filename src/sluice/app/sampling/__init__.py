"""How much mine there is, from a sample that a person labels: `sluice area`."""
