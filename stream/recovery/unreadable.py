"""Unreadable records: find the one record of a changelog partition that a restore fails on, and name it.

Owns the search. A restore decodes many records at once and can not always say which of them
was the bad one. The search restores fewer and fewer of them until one is left, so it costs a few restores, and only a
worker that is about to end pays for it. Pure; called by `agents.worker.tasks.restorer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream.recovery.record_form import MANY_TAGS, STATE_KEY, UnreadableRecordError, tag_of

Records = Mapping[bytes, bytes]
Restore = Callable[[Records], object]


def find_unreadable(records: Records, restore: Restore, error: Exception) -> UnreadableRecordError:
    """The error that names the record on which `restore(records)` has failed with `error`."""
    many = [key for key in records if tag_of(key) in MANY_TAGS]
    frame = {key: value for key, value in records.items() if tag_of(key) not in MANY_TAGS}
    failed = _failure(restore, frame)
    if failed is not None:
        return UnreadableRecordError(_cause(frame, restore, failed), failed)
    while len(many) > 1:
        half = many[: len(many) // 2]
        failed = _failure(restore, frame | {key: records[key] for key in half})
        many = many[len(half) :] if failed is None else half
    failed = None if not many else _failure(restore, frame | {many[0]: records[many[0]]})
    return UnreadableRecordError(None, error) if failed is None else UnreadableRecordError(many[0], failed)


def _cause(frame: Records, restore: Restore, failed: Exception) -> bytes | None:
    """The record without which these few would not fail in this way; the state only if there is no other."""
    causes = dict(frame)
    for key in frame:
        fewer = {other: value for other, value in causes.items() if other != key}
        if str(_failure(restore, fewer)) == str(failed):
            causes = fewer
    return min(causes, key=lambda key: tag_of(key) == STATE_KEY, default=None)


def _failure(restore: Restore, records: Records) -> Exception | None:
    try:
        restore(records)
    except Exception as error:  # noqa: BLE001 -- whatever bytes make it raise: that is the question
        return error
    return None
