"""What a policy reads: its sources."""
