"""Values to points to scores, with hysteresis and peer percentiles."""
