"""The pure engine: policies, panes, measures, scores and alerts; no I/O, no clock, no asyncio, no Faust."""
