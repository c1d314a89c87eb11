"""Records that hand the state of a merged account over to the partition of the other account.

Owns their form and their size: controls of kind `merge` for the other account, with the state by policy. The pages of a
large account are cut, so that each record fits the repartition topic; the last record says that it is the last. Pages
can be added any number of times, the rest once (`stream.engine.merging`). Called by `stream.recovery.shadow`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schemas.codecs import encode
from schemas.events import CONTROL_SOURCE, ControlEvent, MergedState, RowState
from schemas.topics import ORIGIN_HEADER
from stream.accounts.merges import MergedInto
from stream.publishing.effects import Message

MOST_PAGE_BYTES = 4_176_000
"""So many bytes of pages at most are in one record: whole entries of each kind."""


def records_of(
    account: str,
    pointer: MergedInto,
    live: str,
    states: Mapping[str, RowState],
) -> list[Message[bytes]]:
    """The records with the state of an account; `states` by the label of the policy, `live` that of the live policy."""
    pieces = list(_pieces(states, MOST_PAGE_BYTES))
    records = []
    for number, pages in enumerate(pieces, 1):
        by_policy = {label: RowState(state.schema, state.row, pages.get(label, {})) for label, state in states.items()}
        merged = MergedState(pointer.merge, account, live, by_policy, last=number == len(pieces))
        name = f"{account}/{pointer.merge}/{number}"
        control = ControlEvent(name, pointer.account, pointer.time, "merge", merged=merged)
        headers = [(ORIGIN_HEADER, CONTROL_SOURCE.encode())]
        records.append(Message(pointer.account.encode(), encode(control), headers))
    return records


def _pieces(states: Mapping[str, RowState], most_bytes: int) -> Iterator[dict[str, dict[str, bytes]]]:
    """The pages by policy and column, cut to at most `most_bytes`; at least one piece, the last one may have none."""
    for label, state in states.items():
        for column, entries in state.pages.items():
            for start in range(0, len(entries), most_bytes):
                if len(entries) > most_bytes:
                    yield {label: {column: entries[start : start + most_bytes]}}
    yield {
        label: {column: entries for column, entries in state.pages.items() if len(entries) <= most_bytes}
        for label, state in states.items()
    }
