"""The board: who needs attention now, and why; a page and its API, fed from the output topics alone.

`state` holds what was read, `source` reads it, `app` answers. Any number of boards run beside the workers.
"""
