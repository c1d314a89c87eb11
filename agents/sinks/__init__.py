"""What passes alerts on from `health.alerts` to others: Alertmanager, a webhook, chats and e-mail. One process each."""
