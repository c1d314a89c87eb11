"""Writes the sections of docs/tutorial/score-your-systems.md: for each preset, records, commands and what they print.

Owns what each section says and which lines of an output it leaves out. The records are in deploy/examples/presets. Run
`python -m tests.pages.preset_paths` after a change of what the commands print; `test_preset_paths.py` fails until then.
"""

from __future__ import annotations

import re
import shlex
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill

from typer.testing import CliRunner

from agents.cli.main import app
from tests.pages.blocks import DOCS, ROOT
from tests.pages.steps import ELLIPSIS

PAGE = DOCS / "tutorial" / "score-your-systems.md"
RECORDS = ROOT / "deploy/examples/presets"
_BLOCK = re.compile(r"(?<=<!-- generated: presets -->\n).*?(?=<!-- end -->)", re.DOTALL)
_LEFT_OUT = re.compile(r"  left out: |written: |next: ")
_SCORE = re.compile(
    r'(\{"account_id":"[^"]*",).*?("scores":\{"health":\{"value":[\d.]+,"band":"[\w-]+",).*?(\}\}(,"inputs":.*)?\})'
)
_POLICY = """\
name = "{preset}-seats"

[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "28d"
complete = "at-least"

[measures.seats_used]                 # in percent
value = "100 * users / account.{attribute}"
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 80 }}
weight = 1

[scores.health]
min_change = 1.0
bands = [{{ name = "healthy", from = 50 }}, {{ name = "at-risk", from = 0 }}]
"""


@dataclass(frozen=True)
class PresetPath:
    """The way from the records of one preset to a score."""

    preset: str
    title: str
    says: str
    files: tuple[str, ...]
    attribute: str | None = None
    """Of a profile without events: the attribute that a policy of the section divides by."""


PATHS = (
    PresetPath(
        "segment", "Segment and RudderStack",
        "`track` calls are uses of the product, and a `group` call is the profile of the account. `identify` names a "
        "person and no account: a rule skips it, and it is counted.",
        ("segment.jsonl",),
    ),
    PresetPath(
        "posthog", "PostHog",
        "Events of an export. The account is the group `company`; events without such a group are skipped.",
        ("posthog.jsonl",),
    ),
    PresetPath(
        "amplitude", "Amplitude",
        "Events of the export API. The account is the group `company`.",
        ("amplitude.jsonl",),
    ),
    PresetPath(
        "mixpanel", "Mixpanel",
        "Events of the raw export API. The account is the property `company_id`.",
        ("mixpanel.jsonl",),
    ),
    PresetPath(
        "cloudevents", "CloudEvents",
        "The data of these CloudEvents are uses of the product without an account: that is the `subject`. The name of "
        "the file says which source the data are of.",
        ("app.product-usage.jsonl",),
    ),
    PresetPath(
        "stripe", "Stripe",
        "Webhook events. One customer paid before the invoice was due; the payment of the other failed at first.",
        ("stripe.jsonl",),
    ),
    PresetPath(
        "zendesk", "Zendesk",
        "A page of tickets and a page of organizations, as the API lists them. A solved ticket is two events: it was "
        "opened, and it was solved. Its rating is an answer to a survey.",
        ("zendesk.jsonl",),
    ),
    PresetPath(
        "intercom", "Intercom",
        "Conversations with their ratings, and a company. A conversation is a ticket.",
        ("intercom.jsonl",),
    ),
    PresetPath(
        "delighted", "Delighted",
        "Answers to an NPS survey. The account is a property of the person who answered.",
        ("delighted.jsonl",),
    ),
    PresetPath(
        "debezium", "Debezium",
        "Changes of two tables of a database: invoices, whose columns are the fields of `billing`, and accounts. The "
        "names of the topics, or here of the files, end with the name of the source.",
        ("shop.public.billing.jsonl", "shop.public.accounts.jsonl"),
    ),
    PresetPath(
        "hubspot", "HubSpot",
        "Companies as the API lists them, and a webhook with a change of one. These are profiles: a score needs "
        "[events](../reference/event-files.md#accounts-that-are-listed) besides. Here they are from an application "
        "that knows the id of the company.",
        ("hubspot.jsonl", "hubspot.product-usage.jsonl"),
        "numberofemployees",
    ),
    PresetPath(
        "salesforce", "Salesforce",
        "A CSV export of the object Account, with a custom field, `Seats__c`: profiles only, as those of HubSpot.",
        ("salesforce.csv", "salesforce.product-usage.jsonl"),
        "Seats__c",
    ),
    PresetPath(
        "pipedrive", "Pipedrive",
        "Organizations as the API lists them: profiles only, as those of HubSpot.",
        ("pipedrive.jsonl", "pipedrive.product-usage.jsonl"),
        "people",
    ),
)  # fmt: skip


def shown(output: str) -> list[str]:
    """Return the lines of an output that the page shows, with `…` for what it leaves out."""
    lines: list[str] = []
    for line in output.splitlines():
        short = ELLIPSIS if _LEFT_OUT.match(line) else _SCORE.sub(rf"\1{ELLIPSIS}\2{ELLIPSIS}\3", line)
        if not (short == ELLIPSIS and lines[-1:] == [ELLIPSIS]):
            lines.append(short.rstrip())
    return lines


def commands(path: PresetPath) -> list[str]:
    """Return what the reader types, in order."""
    files = " ".join(path.files)
    asked, mine = "", f"--mapping {path.preset}/mappings/{path.preset}.toml"
    if path.preset == "cloudevents":  # `vitals init` copies no mapping: such files are read without one
        asked = mine = "--mapping cloudevents"
    typed = [
        f"vitals map {path.files[0]} --mapping {path.preset} --show 0",
        f"vitals init --from {' '.join(filter(None, (files, asked)))} --into {path.preset}",
        f"vitals score {files} --policy {path.preset}/policy.toml {mine}",
    ]
    if path.attribute:
        typed.append(f"vitals score {files} --policy {path.preset}-seats.toml {mine}")
    return typed


def console(typed: list[str]) -> str:
    """Run commands in the current folder; return the block of the page."""
    lines = []
    for command in typed:
        done = CliRunner().invoke(app, shlex.split(command)[1:], env={"COLUMNS": "120"})
        if done.exit_code or done.stderr:
            message = f"{command}: {done.exit_code}\n{done.stdout}{done.stderr}"
            raise RuntimeError(message)
        lines += [f"$ {command}", *shown(done.stdout)]
    return "\n".join(["```console", *lines, "```"])


def section(path: PresetPath) -> str:
    """Return the section of a preset; its files and what its commands write go to the current folder."""
    texts = [f"### {path.title}", fill(path.says, 120, break_long_words=False, break_on_hyphens=False)]
    for name in path.files:
        body = (RECORDS / name).read_text(encoding="utf-8")
        Path(name).write_text(body, encoding="utf-8")
        language = name.rpartition(".")[2].replace("jsonl", "json").replace("csv", "text")
        texts.append(f'```{language} title="{name}"\n{body}```')
    typed = commands(path)
    texts.append(console(typed[:3]))
    if path.attribute:
        name, policy = f"{path.preset}-seats.toml", _POLICY.format(preset=path.preset, attribute=path.attribute)
        Path(name).write_text(policy, encoding="utf-8")
        texts.append(f"This policy reads the profile, too: it divides by the attribute `{path.attribute}`.")
        texts.append(f'```toml title="{name}"\n{policy}```')
        texts.append(console(typed[3:]))
    return "\n\n".join(texts)


def with_sections(page: str) -> str:
    """Return the page with the sections as they are now."""
    with TemporaryDirectory() as folder, chdir(folder):
        sections = "\n\n".join(section(path) for path in PATHS)
    return _BLOCK.sub(lambda _: f"\n{sections}\n\n", page)


if __name__ == "__main__":
    PAGE.write_text(with_sections(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
