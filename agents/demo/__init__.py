"""The demo: an embedded broker, a synthetic company of accounts, a real worker, and a screen to watch them on.

Owns everything behind `vitals demo`, whose entry is `agents.demo.run.run_demo`. Must not know how scores come about: it
sends events, runs `vitals worker` as a process of its own, and shows what that publishes. Importing it starts nothing.
"""
