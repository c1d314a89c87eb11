"""For programs that read the output topics: notifications, progress out of order, roll-ups, peer values, queues."""
