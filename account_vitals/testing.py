"""Contract tests for packages that extend account-vitals: import them into the tests of your package.

Owns what an alert sink and a format of event files must keep to, as checks that raise AssertionError with what is
wrong. Called by the tests of such packages, and by those of this project.

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
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agents.files.formats import BUILT_IN_ENDINGS, FormatReader
from agents.process.plugins import FORMATS, SINKS, plugin
from agents.sinks.plugin import AlertSink, RejectedAlertError, made_sink
from schemas.outputs import Alert, Fall, FallFactor
from stream.consumers.notifications import Kind

__all__ = ["AlertSink", "FormatReader", "RejectedAlertError", "check_alert_sink", "check_format", "check_installed"]

_GROUPS = {"format": FORMATS, "alert sink": SINKS}
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


def check_installed(extension: str, name: str) -> Any:
    """Check that an installed package has this extension (`format` or `alert sink`); returns its object."""
    assert extension in _GROUPS, f"{extension!r} is none of {', '.join(_GROUPS)}"
    return plugin(_GROUPS[extension], name)
