"""The board's state: the latest score of each account, series, change histories, alerts, and the journal of changes."""
