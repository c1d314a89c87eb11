"""The board: a web page and an API that show health scores, what changed them, and alerts.

It reads the output topics only. `state` reads and keeps them, `views` makes answers, `web` serves them. Any number of
boards can run beside the workers.
"""
