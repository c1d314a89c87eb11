"""Customer health scores in Python: score frames of events, explain scores, and feed an engine one batch at a time.

Owns which names are public: those of `__all__`; everything below `agents`, `schemas` and `stream` can change without
notice. A name is imported when it is used first, so that `import account_vitals` and the command `vitals` start fast.
Called by programs and notebooks; nothing of the project imports it.

>>> import account_vitals as av
>>> policy = av.Policy.parse('''
... name = "first"
... [measures.tickets]
... source = "support-tickets"
... stat = "count"
... window = "30d"
... normalise = { kind = "linear", zero_at = 4, hundred_at = 0 }
... weight = 1
... [scores.health]
... min_change = 1
... bands = [{ name = "healthy", from = 40 }, { name = "at-risk", from = 0 }]
... ''')
>>> ticket = {"topic": "support-tickets", "id": "e1", "account_id": "acme", "time": "2026-03-02T09:00:00Z"}
>>> scores = av.score([ticket | {"ticket_id": "T1", "status": "opened"}], policy)
>>> scores.select(["account_id", "value", "band"]).to_pylist()
[{'account_id': 'acme', 'value': 75.0, 'band': 'healthy'}]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from account_vitals.engine import Engine, Published
    from account_vitals.inputs import Moment
    from account_vitals.policies import Policy
    from account_vitals.problems import LeftOutWarning, RowsError
    from account_vitals.scoring import as_text, backtest, explain, history, score
    from agents.backtest.report import Report
    from agents.files.scores import NoScoreError
    from schemas.outputs import Alert, ScoreChange, ScoreMessage
    from stream.explain.explain import Explanation
    from stream.policy.policy import PolicyError, Problem

__all__ = [
    "Alert",
    "Engine",
    "Explanation",
    "LeftOutWarning",
    "Moment",
    "NoScoreError",
    "Policy",
    "PolicyError",
    "Problem",
    "Published",
    "Report",
    "RowsError",
    "ScoreChange",
    "ScoreMessage",
    "as_text",
    "backtest",
    "explain",
    "history",
    "score",
]

_MODULES = {
    **dict.fromkeys(("Engine", "Published", "Alert", "ScoreChange", "ScoreMessage"), "engine"),
    **dict.fromkeys(("Moment",), "inputs"),
    **dict.fromkeys(("Policy", "PolicyError", "Problem"), "policies"),
    **dict.fromkeys(("LeftOutWarning", "RowsError"), "problems"),
    **dict.fromkeys(
        ("Explanation", "NoScoreError", "Report", "as_text", "backtest", "explain", "history", "score"), "scoring"
    ),
}
"""The module of this package that each public name is imported from."""


def __getattr__(name: str) -> object:
    """Import a public name when it is used first."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those that were not used yet."""
    return sorted({*globals(), *__all__})
