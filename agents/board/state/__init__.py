"""What the board knows: the latest of each account, series, change history, alerts, the change journal."""
