"""`vitals sink redis`: the latest scores in Redis, for programs that ask often. `health.scores` stays the truth."""
