"""Where Faust keeps the offsets that its streams have acknowledged; it keeps none of our topics.

Owns these two classes. Called by `agents.worker.client.consumer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faust.types import TP


class NoOffsets(list[int]):
    """Where Faust keeps the offsets that its streams have acknowledged: nothing is kept.

    Its compiled streams put them here past `BatchConsumer.ack`, and only Faust's own commit, which is never made, takes
    them out again. Faust calls `append` where it expects a list, and `add` where it expects a set.
    """

    def append(self, offset: int, /) -> None:
        """Keep nothing."""

    add = append


class Acknowledged(dict[TP, Any]):
    """Where Faust keeps acknowledged offsets by partition: of our topics `NoOffsets`, of others what Faust wants."""

    def __init__(self, ours: Callable[[str], bool], make: Callable[[], Any]) -> None:
        """`make` makes what Faust keeps the offsets of a partition in."""
        super().__init__()
        self.ours, self.make = ours, make

    def __missing__(self, tp: TP) -> Any:
        offsets = self[tp] = NoOffsets() if self.ours(tp.topic) else self.make()
        return offsets
