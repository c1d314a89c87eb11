"""The native decoder of events: a small library in Rust, and what loads it. Optional: without it Python does the same.

`library` has the calls and what they take; decision 75 says why it is there and when it is used.
"""
