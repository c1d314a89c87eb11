"""`vitals demo`: an embedded broker, a synthetic company of accounts, a real worker, and a live screen.

`agents.demo.run.run_demo` is the entry. The demo computes no scores: it sends events, runs `vitals worker` as a process
of its own, and shows what the worker publishes. Importing this package starts nothing.
"""
