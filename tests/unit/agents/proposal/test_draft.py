"""What a mapping is drafted of for tables that no preset knows, and that the draft maps them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from agents.files.inputs import read_file
from agents.proposal.draft import draft_of
from schemas.sources import BUILT_IN
from stream.mapping.reading import parse_mapping
from stream.policy.errors import PolicyError

CUSTOMERS = (
    "Kundennummer;Firma;Tarif;Vertragsbeginn;Verlängerung;Jahresumsatz;Ort\r\n"
    "K1;Müller & Söhne;Profi;03.01.2024;01.03.2026;4.800,50;Köln\r\n"
    "K2;Bäckerei Öz;;14.02.2024;;;\r\n"
)
LOGINS = (
    "Kunden-Nr;Benutzer;Zeitpunkt;Funktion\r\n"
    "K1;ann@a.example;20.10.2025 09:18;Suche\r\n"
    ";;;\r\n"
    "K1;;21.10.2025 10:00;\r\n"
    "K2;bob@b.example;22.10.2025 11:00;Export\r\n"
)


def drafted(folder: Path, name: str, content: str) -> tuple[str, dict]:
    path = folder / name
    path.write_text(content, "utf-8-sig", newline="")
    text = draft_of([path])
    (rule,) = tomllib.loads(text)["map"]
    return text, rule


def test_tables_of_customers_and_logins_need_no_editing(tmp_path: Path) -> None:
    text, rule = drafted(tmp_path, "Kunden.csv", CUSTOMERS)
    assert (rule["from"], rule["to"]) == ("Kunden", "accounts")
    assert rule["fields"] == {
        "account_id": "Kundennummer",
        "time": {"path": "Vertragsbeginn", "format": "%d.%m.%Y"},
        "started_at": {"path": "Vertragsbeginn", "format": "%d.%m.%Y"},
        "renewal_at": {"path": '"Verlängerung"', "format": "%d.%m.%Y"},
        "name": "Firma",
        "plan": "Tarif",
        "arr": {"path": "Jahresumsatz", "decimal": ","},
    }
    assert '# columns that are not used: "Ort"' in text.splitlines()
    _, rule = drafted(tmp_path, "Logins.csv", LOGINS)
    assert (rule["from"], rule["to"]) == ("Logins", "product-usage")
    assert rule["fields"] == {
        "account_id": '"Kunden-Nr"',
        "time": {"path": "Zeitpunkt", "format": "%d.%m.%Y %H:%M"},
        "user_id": "Benutzer",
        "feature": "Funktion",
    }
    files = [tmp_path / "Kunden.csv", tmp_path / "Logins.csv"]
    mapping = parse_mapping(draft_of(files), "draft.toml", BUILT_IN)
    for path, source, count in zip(files, ("accounts", "product-usage"), (2, 3), strict=True):
        read = read_file(path, BUILT_IN, mapping)
        assert read.bad == []
        assert len(read.by_source[source]) == count


@pytest.mark.parametrize(
    ("header", "rows", "field", "drafted_as"),
    [
        ("customer,when", ("7,2025-10-20T09:18:00Z", "8,2025-10-21", "7,2025-10-22"), "time", "when"),
        ("customer,when", ("7,1760951880000", "7,1760951880001"), "time", "when"),
        ("customer,when", ("7,10/20/2025", "7,09/01/2025"), "time", {"path": "when", "format": "%m/%d/%Y"}),
        ("customer,when", ("7,20/10/2025", "7,01/09/2025"), "time", {"path": "when", "format": "%d/%m/%Y"}),
        ("customer,when", ("7,soon", "7,later"), "time", "?"),
        ("customer,number", ("7,123456789", "7,123456780"), "time", "?"),
        ("what,when", ("7,2025-10-20", "7,2025-10-21"), "account_id", "?"),
        ("Customer name,Customer ID,when", ("A,1,2025-10-20", "A,1,2025-10-21"), "account_id", '"Customer ID"'),
        ("it's a customer,when", ("7,2025-10-20", "7,2025-10-21"), "account_id", '"it\'s a customer"'),
    ],
)
def test_a_column_is_taken_for_what_its_name_and_values_say(
    tmp_path: Path, header: str, rows: tuple[str, ...], field: str, drafted_as: object
) -> None:
    text, rule = drafted(tmp_path, "x.csv", "\n".join([header, *rows]))
    assert rule["to"] == "product-usage"
    assert rule["fields"][field] == drafted_as
    if "?" in rule["fields"].values():
        with pytest.raises(PolicyError, match="is no JMESPath expression"):
            parse_mapping(text, "draft.toml", BUILT_IN)


@pytest.mark.parametrize(
    ("amounts", "drafted_as"),
    [
        (("4800.5", "12000"), "arr"),
        (("4,800.50", "12,000.00"), {"path": "arr", "decimal": "."}),
        (("4 800,50", "12000"), {"path": "arr", "decimal": ","}),
        (("4800 EUR", "12000"), None),
    ],
)
def test_amounts_have_the_decimal_mark_that_they_are_written_with(
    tmp_path: Path, amounts: tuple[str, str], drafted_as: object
) -> None:
    rows = [f"{account};A;2024-01-01;{amount}" for account, amount in enumerate(amounts)]
    _, rule = drafted(tmp_path, "x.csv", "\n".join(["customer_id;name;since;arr", *rows]))
    assert rule["to"] == "accounts"
    assert rule["fields"].get("arr") == drafted_as


def test_records_without_fields_give_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{", "utf-8")
    assert draft_of([path]) == ""
    path.write_text('{"more": {}}\n{"customer": "a", "at": "2025-10-20", "more": {"a": 1}}\n', "utf-8")
    (rule,) = tomllib.loads(draft_of([path]))["map"]
    assert rule["fields"] == {"account_id": "customer", "time": "at"}
