"""Fields of each event source that a policy may name, as tables.

Owns the tables below, in the order of docs/reference/policy/measures.md. A key is the source's own name, whatever its
topic is called. Knows nothing of policies or decoding. Read by `stream.policy`, which checks a policy against them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from schemas.events import EVENT_TYPES

TEXT_FIELDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "product-usage": ("user_id", "feature", "action"),
        "support-tickets": ("ticket_id", "status", "priority", "kind"),
        "surveys": ("kind", "user_id"),
        "billing": ("kind", "currency"),
        "engagement": ("kind", "user_id", "role"),
        "controls": ("kind", "by"),
        "signals": ("name",),
    }
)
"""Source -> its text fields: what `where`, `of` and `weights` may name."""

NUMBER_FIELDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "product-usage": ("count", "duration_s"),
        "support-tickets": ("first_response_s", "resolution_s"),
        "surveys": ("score",),
        "billing": ("amount", "days_late"),
        "engagement": (),
        "controls": ("value",),
        "signals": ("value",),
    }
)
"""Source -> its number fields: what `field` may name."""

PROFILE_FACTS: Final[tuple[str, ...]] = ("started_at", "renewal_at", "arr")
"""Fields of an account's profile that a measure may read."""


def _closed(hint: Any) -> tuple[str, ...]:
    """The values of a type that lists them, or that is such a type or None; empty for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next((values for each in get_args(hint) if (values := _closed(each))), ())


def _closed_fields(source: str) -> dict[str, tuple[str, ...]]:
    hints = get_type_hints(EVENT_TYPES[source])
    return {field: values for field in TEXT_FIELDS[source] if (values := _closed(hints[field]))}


CLOSED_VALUES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {source: MappingProxyType(_closed_fields(source)) for source in TEXT_FIELDS}
)
"""Source -> its text fields that have no other values than those listed: a record with another one is refused."""
