"""One record mapped alone, where the product maps many with rules that it has bound once.

Must not know any expected event. Called by the tests of mappings and of the mapper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.mapper.records import Outcome, checked, draft_of, polled_drafts
from stream.mapping.apply import BoundMapping, ForeignRecord, Mapped

if TYPE_CHECKING:
    from agents.mapper.registry.decoding import Decoder
    from schemas.sources import Sources
    from stream.mapping.rules import InputMapping


def mapped_alone(mapping: InputMapping, record: ForeignRecord, sources: Sources) -> Mapped:
    """Return what comes of one record."""
    return BoundMapping(mapping, sources).apply(record)


def outcome_of(record: Any, mapping: InputMapping, sources: Sources, decoder: Decoder | None = None) -> Outcome:
    """Return what becomes of one record of a consumer."""
    bound = BoundMapping(mapping, sources)
    (draft,) = polled_drafts([record], bound, decoder)
    return checked([draft or draft_of(record, bound, decoder)], bound)[0]
