"""The measures that a proposed policy can have, as data.

Owns what each measures, which way is good, and what it is set to where there is no data to look at. Must not know
files and engines. Called by `agents.proposal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

WINDOWS = (28, 21, 14, 7)
"""Windows in days, the first that the data fills: whole weeks, so that weekends change nothing by themselves."""
LONG_WINDOWS = (182, 91, *WINDOWS)
SHORTEST_WINDOW = WINDOWS[-1]
"""The window where the data fill none."""
NO_WINDOW = ()


class Candidate(NamedTuple):
    """A measure: `fields` are its keys in TOML, `what` a question that it answers.

    `usual` are the values of 0 and of 100 points where there is no data. `where` names a field and the values of it
    that count, of which only those are written that occur. `missing` is what an account without a value gets.
    """

    name: str
    source: str
    what: str
    fields: Mapping[str, str]
    usual: tuple[float, float]
    windows: tuple[int, ...] = WINDOWS
    where: tuple[str, tuple[str, ...]] | None = None
    missing: str | None = None

    @property
    def more_is_better(self) -> bool:
        """Whether the larger value is the better one."""
        return self.usual[0] < self.usual[1]


CANDIDATES = (
    Candidate(
        "active_days", "product-usage", "On how many days do they use the product?", {"stat": '"active"'}, (0, 20)
    ),
    Candidate("active_users", "product-usage", "How many people use it?", {"stat": '"distinct_users"'}, (0, 10)),
    Candidate("usage", "product-usage", "How much do they use it?", {"stat": '"count"'}, (0, 100)),
    Candidate("features", "product-usage", "How many features do they use?", {"stat": '"distinct_features"'}, (0, 10)),
    Candidate(
        "days_since_use",
        "product-usage",
        "How many days ago did they use it last?",
        {"stat": '"days_since_last"'},
        (14, 0),
        missing="0",
    ),
    Candidate(
        "open_tickets",
        "support-tickets",
        "How many support tickets are open now, however old?",
        {"stat": '"open"', "field": '"ticket_id"', "of": '{ status = { not = ["solved"] } }'},
        (5, 0),
        NO_WINDOW,
    ),
    Candidate(
        "opened_tickets",
        "support-tickets",
        "How many support tickets did they open?",
        {"stat": '"count"'},
        (10, 0),
        where=("status", ("opened", "reopened")),
    ),
    Candidate(
        "detractors",
        "surveys",
        "Which share of their answers to NPS surveys is negative (0 to 6)?",
        {"stat": '"share"', "of": "{ score = { below = 7 } }"},
        (1, 0),
        LONG_WINDOWS,
        ("kind", ("nps",)),
        '"redistribute"',
    ),
    Candidate(
        "satisfaction",
        "surveys",
        "How do they rate us in CSAT surveys (1 to 5)?",
        {"stat": '"mean"', "field": '"score"'},
        (1, 5),
        LONG_WINDOWS,
        ("kind", ("csat",)),
        '"redistribute"',
    ),
    Candidate(
        "payment_problems",
        "billing",
        "How often was an invoice overdue or a payment refused?",
        {"stat": '"count"'},
        (3, 0),
        (91, *WINDOWS),
        ("kind", ("invoice_overdue", "payment_failed")),
    ),
    Candidate(
        "engagement",
        "engagement",
        "How often do they take part: meetings, webinars, training, community?",
        {"stat": '"count"'},
        (0, 10),
        (91, *WINDOWS),
    ),
)
SOURCES = tuple(dict.fromkeys(candidate.source for candidate in CANDIDATES))
"""The sources that a proposal can read."""
