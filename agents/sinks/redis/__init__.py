"""`vitals sink redis`: keeps the latest scores in Redis, for programs that read often."""
