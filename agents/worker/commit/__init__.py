"""What is written and when: the outbox, the checkpoint, handing partitions over, the lease."""
