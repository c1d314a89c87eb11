"""Tests of policies: cases of events and what they must give, run without a broker by `vitals test`."""
