"""What is published and when: effects, thresholds, encoders, the last-published baseline."""
