"""Recognise the records of files: events as they are, or those of a preset.

Owns what counts as recognised. Called by `vitals init`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agents.files.formats import stem_of
from agents.files.inputs import FileEvents, read_in_chunks
from agents.files.mappings import mapping_file, preset_names
from agents.proposal.draft import draft_of
from schemas.codecs import decode
from schemas.sources import BUILT_IN
from stream.mapping.reading import parse_mapping
from stream.mapping.recognition import recognise
from stream.mapping.rules import InputMapping

_RECORDS = 200
_ENOUGH = 0.5
_RULE = "[[map]]\n"
_FROM = re.compile(r"^from = ", re.MULTILINE)


class Recognised(NamedTuple):
    """What the first records of a file are: events of the preset (None: of no preset)."""

    path: Path
    preset: str | None


class UnrecognisedError(ValueError):
    """Files of which no preset makes events; the message says what to do, `draft` is a mapping to begin with."""

    def __init__(self, message: str, draft: str) -> None:
        super().__init__(message)
        self.draft = draft


def recognise_files(paths: Sequence[Path]) -> list[Recognised]:
    """The preset of each file that needs one. Raises UnrecognisedError, OSError with the file's name."""
    mappings = {name: parse_mapping(mapping_file(name).read_text(encoding="utf-8"), name) for name in preset_names()}
    unknown: dict[Path, str] = {}
    recognised = [Recognised(path, _preset_of(path, mappings, unknown)) for path in paths]
    if unknown:
        draft = draft_of(list(unknown))
        reason = next(iter(unknown.values()))
        advice = "a draft of a mapping is on stdout: save and check it" if draft else "write a mapping"
        files, whose = ", ".join(map(str, unknown)), "its" if len(unknown) == 1 else "their"
        raise UnrecognisedError(
            f"{files}: {whose} records are no events, and no preset makes events of them ({reason}): "
            f"{advice} (docs/how-to/use-your-own-data.md), and name it with --mapping",
            draft,
        )
    return recognised


def _preset_of(path: Path, mappings: dict[str, InputMapping], unknown: dict[Path, str]) -> str | None:
    """The preset of a file; None if it needs none, or is put into `unknown` with the reason."""
    records, events, reason = _events(path, None)
    if events >= _ENOUGH * records:
        return None
    made = {name: _events(path, mapping) for name, mapping in mappings.items() if mapping.reads(stem_of(path))}
    good = {name: count for name, (taken, count, _) in made.items() if count and taken >= _ENOUGH * records}
    if not good:
        unknown[path] = reason
        return None
    return max(good, key=lambda name: good[name])


def _events(path: Path, mapping: InputMapping | None) -> tuple[int, int, str]:
    """Of the first records of a file: how many are known (all, without a mapping), their events, and a problem."""
    read = next(read_in_chunks(path, BUILT_IN, mapping, size=_RECORDS), FileEvents())
    reason = read.bad[0].message if read.bad else ""
    events = len(read.deletions)
    for source, numbered in read.by_source.items():
        values = [value for _, value in numbered]
        decoded = recognise(BUILT_IN[source], values, decode(BUILT_IN[source], values)).decoded
        events += len(decoded.events)
        reason = reason or next((reject.message for reject in decoded.rejects), "")
    return (read.records if mapping is None else read.records - len(read.bad)), events, reason


def mapping_text(preset: str, only: Sequence[Path]) -> str:
    """A preset as a mapping of one's own; with `only`, its rules are for the files of these names alone."""
    text = mapping_file(preset).read_text(encoding="utf-8")
    if not only:
        return text
    names = ", ".join(f'"{name}"' for name in sorted({stem_of(path) for path in only}))
    head, *rules = text.split(_RULE)
    return head + "".join(_RULE + (rule if _FROM.search(rule) else f"from = [{names}]\n{rule}") for rule in rules)
