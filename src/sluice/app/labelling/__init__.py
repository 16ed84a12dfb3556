"""Labels and imagery to data sets of chips: `sluice labels`."""
