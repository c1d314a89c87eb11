"""Sinks deliver alerts and scores to other systems, each as one process: Alertmanager, webhook, chat, e-mail, Redis."""
