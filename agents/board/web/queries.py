"""Read the filters and the order of a list from the parameters of a request.

Owns the names of these parameters, which `/api/accounts`, `/api/summary` and `/api/alerts` share. Called by
`agents.board.web.app`.
"""

from __future__ import annotations

from starlette.datastructures import QueryParams

from agents.board.views.listing import SORTS, ListQuery, sort_of
from agents.board.web.responses import BadRequestError, choice_parameter


def filter_of(query: QueryParams, score: str) -> ListQuery:
    """The filters, in the default order. Raises `BadRequestError`."""
    return ListQuery(
        score=score,
        bands=frozenset(query.getlist("band")),
        segments=frozenset(query.getlist("segment")),
        owners=frozenset(query.getlist("owner")),
        tiers=frozenset(query.getlist("tier")),
        attributes=frozenset(map(_attribute, query.getlist("attribute"))),
        text=query.get("q", ""),
        alerts_open=choice_parameter(query, "alerts", ("", "open"), "") == "open",
    )


def _attribute(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not name or not colon:
        msg = f"attribute: must be NAME:VALUE, such as country:DE, not {text!r}"
        raise BadRequestError(msg)
    return name, value


def _sort(query: QueryParams) -> str:
    sort = query.get("sort", "score")
    if sort_of(sort) is None:
        msg = f"sort: must be one of {', '.join(SORTS)} or attribute:NAME, not {sort!r}"
        raise BadRequestError(msg)
    return sort


def list_query_of(query: QueryParams, score: str) -> ListQuery:
    """The filters and the order. Raises `BadRequestError`."""
    return filter_of(query, score)._replace(
        sort=_sort(query),
        descending=choice_parameter(query, "order", ("asc", "desc"), "asc") == "desc",
    )
