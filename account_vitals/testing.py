"""Contract tests for packages that extend account-vitals: import them into the tests of your package.

Owns what an alert sink, a format of event files, a statistic and a normaliser must keep to, as checks that raise
AssertionError with what is wrong. Called by the tests of such packages, and by those of this project.

>>> def read_pairs(content: bytes):
...     for line in content.decode().splitlines():
...         account, time = line.split()
...         yield {"account_id": account, "time": time, "kind": "webinar"}
>>> rows = [{"account_id": "acme", "time": "2026-03-02T09:00:00Z", "kind": "webinar"}]
>>> check_format("pairs", read_pairs, b"acme 2026-03-02T09:00:00Z", rows)
>>> class Pager:
...     def deliver(self, kind, alert):
...         pass
>>> check_alert_sink(Pager)
>>> class Busiest:
...     reads = ("count",)
...
...     def value(self, panes):
...         return panes["count"].max(axis=1)
>>> check_statistic("busiest", Busiest(), [({"count": [0, 4, 1]}, 4.0)])
>>> class Whole:
...     def points(self, values):
...         return np.minimum(np.maximum(np.floor(values), 0.0), 100.0)
>>> check_normaliser("whole", Whole(), {2.7: 2.0})
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.files.formats import BUILT_IN_ENDINGS, FormatReader
from agents.process.plugins import FORMATS, NORMALISERS, SINKS, STATISTICS, plugin
from agents.sinks.plugin import AlertSink, RejectedAlertError, made_sink
from schemas.outputs import Alert, Fall, FallFactor
from stream.consumers.notifications import Kind
from stream.policy.fields import STATS
from stream.policy.normalise import KINDS
from stream.policy.own.extension import ExtensionError, Loaded, parameters_of
from stream.policy.own.normaliser import OwnNormaliser, PointsRule
from stream.policy.own.statistic import OwnStatistic, PaneStatistic, PaneValue

__all__ = [
    "AlertSink",
    "FormatReader",
    "PaneStatistic",
    "PointsRule",
    "RejectedAlertError",
    "check_alert_sink",
    "check_format",
    "check_installed",
    "check_normaliser",
    "check_statistic",
]

_GROUPS = {"format": FORMATS, "alert sink": SINKS, "statistic": STATISTICS, "normaliser": NORMALISERS}
_DAY_MS = 86_400_000
_START_MS = 1_774_000_000_000


def check_format(
    ending: str, read: FormatReader, content: bytes, rows: Sequence[Mapping[str, Any]], *, damaged: Sequence[bytes] = ()
) -> None:
    """Check the reader of a format: it gives `rows` for `content`, each time, and ValueError for what is damaged.

    The empty file, halves of `content` and each of `damaged` may give rows or ValueError, and nothing else.
    """
    assert ending == ending.lower().lstrip("."), f"ending {ending!r}: write it in lower case, without a dot"
    assert f".{ending}" not in BUILT_IN_ENDINGS, f"ending {ending!r}: account-vitals reads it itself"
    for attempt in ("first", "second"):
        records = [_row(record) for record in read(content)]
        assert records == list(rows), f"the {attempt} reading gives {records!r}, not {list(rows)!r}"
    for text in (b"", content[: len(content) // 2], content[len(content) // 2 :], *damaged):
        try:
            for record in read(text):
                _row(record)
        except ValueError:
            continue
        except Exception as error:
            raise AssertionError(f"{text!r} raises {error!r}: raise ValueError with what to do") from error


def _row(record: object) -> Mapping[str, Any]:
    """A record as a dict; AssertionError for what is neither a dict nor a JSON object."""
    if isinstance(record, bytes):
        try:
            return msgspec.json.decode(record, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise AssertionError(f"{record!r} is no JSON object: {error}") from error
    assert isinstance(record, Mapping), f"{record!r} is neither a dict nor JSON as bytes"
    assert all(isinstance(name, str) for name in record), f"{record!r} has a name that is no text"
    return record


def check_alert_sink(make: Callable[[], object]) -> None:
    """Check what makes an alert sink: it delivers alerts of every kind, also one that came before, and changes none.

    Let it deliver to a receiver of your own that takes everything.
    """
    sink = made_sink(make, getattr(make, "__name__", "sink"))
    for kind, alert in (*sample_alerts(), *sample_alerts()):
        before = msgspec.json.encode(alert)
        answer: object = sink.deliver(kind, alert)  # type: ignore[func-returns-value]  # that it does not is checked
        assert answer is None, f"deliver returns {answer!r}: an alert that is not delivered must raise an exception"
        assert msgspec.json.encode(alert) == before, f"deliver changes the alert {alert.id}"


def sample_alerts() -> list[tuple[Kind, Alert]]:
    """An alert of each kind, and one of no account; ids and texts have characters that need care."""
    fall = Fall(_START_MS - _DAY_MS, 75.5, 31.0, [FallFactor("support_tickets", -44.5)])
    labels = {"account_id": "a/ü ?", "rule": "low", "severity": "critical"}
    alert = Alert(
        "f1", "p1", "a/ü ?", "low", "critical", "firing", _START_MS, 31.0, "at-risk", 'Ü "&<b>: health 31.0', labels,
        {"reason": "support tickets -44.5"}, fall=fall,
    )  # fmt: skip
    storm = Alert("f2", "p2", "", "storm", "critical", "firing", _START_MS, None, None, "storm", {"rule": "storm"}, {})
    replace = msgspec.structs.replace
    return [
        ("firing", alert),
        ("acknowledged", replace(alert, id="a1", acknowledged_at=_START_MS + 1, acknowledged_by="Ann")),
        ("snoozed", replace(alert, id="s1", snoozed_until=_START_MS + _DAY_MS)),
        ("reminded", replace(alert, id="m1")),
        ("resolved", replace(alert, id="r1", status="resolved", ends_at=_START_MS + 2, score=None, band=None)),
        ("firing", storm),
        ("resolved", replace(storm, id="r2", status="resolved", ends_at=_START_MS + 3)),
    ]


Floats = NDArray[np.float64]
_PACKAGE, _VERSION = "the package of the test", "0"
_ACCOUNTS, _PANES = 7, 12
_HUGE = 1e15


def check_statistic(
    name: str, statistic: PaneStatistic, examples: Sequence[tuple[Mapping[str, Sequence[float]], float]]
) -> None:
    """Check a statistic, made with parameters: it gives the value of each example, one account's panes, oldest first.

    The value of an account must not depend on the other accounts, to the last digit: after a crash a worker computes
    others at once. NaN is the value of an account that has none.
    """
    assert name not in STATS, f"statistic {name!r}: account-vitals has one of this name"
    _check_parameters(statistic)
    reads = tuple(statistic.reads)
    assert reads, "reads is empty"
    assert set(reads) <= set(get_args(PaneValue)), f"reads {reads!r}: allowed are {', '.join(get_args(PaneValue))}"
    own = OwnStatistic(name, _PACKAGE, _VERSION, (), statistic, reads)
    for panes, expected in examples:
        value = _value(own, {kind: np.array([numbers], dtype=np.float64) for kind, numbers in panes.items()})
        assert np.isclose(value[0], expected, rtol=1e-12, equal_nan=True), f"{panes} gives {value[0]}, not {expected}"
    for panes_a_window in (1, 2, _PANES):
        sample = _sample_panes(reads, panes_a_window)
        together = _value(own, sample)
        for account in range(_ACCOUNTS):
            alone = _value(own, {kind: array[[account]] for kind, array in sample.items()})
            others = f"{alone[0]!r} alone and {together[account]!r} among others"
            assert np.array_equal(alone, together[[account]], equal_nan=True), f"an account has {others}"
    assert len(_value(own, {kind: np.zeros((0, _PANES)) for kind in reads})) == 0


def _value(own: OwnStatistic, panes: Mapping[str, Floats]) -> Floats:
    try:
        return own.value({kind: array.copy() for kind, array in panes.items()}, len(next(iter(panes.values()))))
    except RuntimeError as error:
        raise AssertionError(str(error)) from error


def _sample_panes(reads: Sequence[str], panes: int) -> dict[str, Floats]:
    """Panes of accounts, the first of which has no event."""
    count = (np.arange(_ACCOUNTS)[:, None] * np.arange(1.0, panes + 1) * 7) % 5
    values = np.where(count > 0, count / 3 - 0.7, np.nan)
    arrays = {"count": count, "sum": np.nan_to_num(values * count), "min": values, "max": values + 0.1}
    return {kind: np.ascontiguousarray(array) for kind, array in arrays.items() if kind in reads}


def check_normaliser(kind: str, normaliser: PointsRule, examples: Mapping[float, float]) -> None:
    """Check a normaliser, made with parameters: it gives the points of `examples`, and some for every number.

    The points of a value must not depend on the other values, to the last digit; what is below 0 or above 100 is
    limited. Between `turns` points only rise or only fall: explanations look for the smallest change between these.
    """
    assert kind not in KINDS, f"normaliser {kind!r}: account-vitals has one of this name"
    _check_parameters(normaliser)
    own = OwnNormaliser(kind, _PACKAGE, _VERSION, (), normaliser)
    for value, expected in examples.items():
        points = float(_points(own, np.array([value]))[0])
        assert np.isclose(points, expected, rtol=1e-12), f"{value} gives {points} points, not {expected}"
    width = max(map(abs, (*examples, *own.turns, 1.0)))
    named = [*examples, *own.turns, -_HUGE, _HUGE]
    values = np.unique(np.concatenate([np.linspace(-3 * width, 3 * width, 1001), named]))
    together = _points(own, values)
    alone = np.array([_points(own, values[[index]])[0] for index in range(len(values))])
    assert np.array_equal(alone, together), "the points of a value depend on the other values"
    assert list(own.turns) == sorted(own.turns), f"turns {own.turns}: write them in ascending order"
    for low, high in pairwise((-np.inf, *own.turns, np.inf)):
        steps = np.diff(together[(values >= low) & (values <= high)])
        assert (steps >= 0).all() or (steps <= 0).all(), f"points rise and fall from {low} to {high}: name it in turns"


def _points(own: OwnNormaliser, values: Floats) -> Floats:
    try:
        return own.points(values)
    except RuntimeError as error:
        raise AssertionError(str(error)) from error


def _check_parameters(made: object) -> None:
    """The class of an extension says its parameters; nothing can change them once it is made."""
    kind = type(made)
    try:
        parameters_of(Loaded(_PACKAGE, _VERSION, kind))
    except ExtensionError as error:
        raise AssertionError(str(error)) from error
    is_frozen = not dataclasses.is_dataclass(kind) or kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert is_frozen, f"{kind.__name__} can be changed: write @dataclass(frozen=True)"


def check_installed(extension: str, name: str) -> Any:
    """Check that an installed package has this extension, and return its object.

    `extension` is `format`, `alert sink`, `statistic` or `normaliser`.
    """
    assert extension in _GROUPS, f"{extension!r} is none of {', '.join(_GROUPS)}"
    return plugin(_GROUPS[extension], name)
