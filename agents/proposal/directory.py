"""The files that a deployment begins with: policy, mappings, settings, compose file and a README.

Owns what each contains, and that no file is overwritten unasked. Called by `vitals init`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.proposal.policy_text import policy_text
from agents.proposal.proposal import Proposal

_TEMPLATES = Path(__file__).parent / "templates"
_ENV, _SECRET = ".env", 0o600
_IGNORED = """\
# the token of the board
.env
# the progress of `vitals import`
.vitals-import/
"""
_SCORE = """\
## Scores now, without Kafka

```sh
vitals score {files} --policy policy.toml{mappings}
vitals check policy.toml --against {files}{mappings}
vitals board {files} --policy policy.toml{mappings}
```

The last command serves the board with these scores at http://127.0.0.1:6080. `vitals explain ACCOUNT`, with the same
arguments, says why an account has its score.

"""
_IMPORT = """\
Load the history, then look at the board:

```sh
vitals import {files} --policy policy.toml{mappings} --dry-run
vitals import {files} --policy policy.toml{mappings}
```

"""
_KAFKA = """\
## Scores as events arrive, with Kafka

Build the image once, in a checkout of account-vitals, then start Kafka, a worker and the board here:

```sh
docker build --file deploy/Dockerfile --tag account-vitals:local .
docker compose up --wait
```

{imports}The board is at http://127.0.0.1:6080; the token to sign in is in `.env`. New events go to the input
topics, such as `product-usage`: see docs/reference/topics.md of account-vitals. With a Kafka of your own you do not
need compose.yml:

```sh
set -a; . ./.env; set +a
vitals topics --create
vitals worker
```
"""


class Contents(NamedTuple):
    """What is written about: the policy's name, the proposal, the files as they were named, and mappings by name.

    `mappings` are the texts of mappings to write; `named` are mappings that exist already, as a person named them.
    """

    name: str
    proposal: Proposal
    files: Sequence[str]
    mappings: Mapping[str, str]
    named: Sequence[str]
    broker: str
    token: str


def files_of(contents: Contents) -> dict[str, str]:
    """The text of each file by its path."""
    mappings = {f"mappings/{name}.toml": text for name, text in contents.mappings.items()}
    return {
        "policy.toml": policy_text(contents.name, contents.proposal),
        **mappings,
        _ENV: _settings(contents),
        "compose.yml": (_TEMPLATES / "compose.yml").read_text(encoding="utf-8").replace("NAME", contents.name.lower()),
        "README.md": _readme(contents, [*mappings, *contents.named]),
        ".gitignore": _IGNORED,
    }


def _settings(contents: Contents) -> str:
    return (
        "# Settings as environment variables; docs/reference/settings.md of account-vitals has them all.\n"
        "# `docker compose` reads this file by itself; for commands: set -a; . ./.env; set +a\n"
        f"VITALS_BROKER={shlex.quote(contents.broker)}\n"
        "VITALS_POLICY=policy.toml\n"
        "# The largest number of workers that can share the work.\n"
        "VITALS_PARTITIONS=4\n"
        "# Whoever has it can read all scores and acknowledge alerts: do not commit it.\n"
        f"VITALS_BOARD_TOKEN={contents.token}\n"
    )


def _readme(contents: Contents, mappings: Sequence[str]) -> str:
    words = {
        "files": " ".join(map(shlex.quote, contents.files)),
        "mappings": "".join(f" --mapping {shlex.quote(mapping)}" for mapping in mappings),
    }
    files = [
        "- `policy.toml` says what healthy means. After a change, `vitals check policy.toml --offline` names mistakes.",
        *(f"- `{mapping}` says what the records of your files mean." for mapping in mappings),
        "- `.env` has the settings and the token of the board. It is not for the repository.",
        "- `compose.yml` starts Kafka, a worker and the board.",
    ]
    imports = _IMPORT.format(**words) if contents.files else ""
    kafka = _KAFKA.format(imports=imports)
    score = _SCORE.format(**words) if contents.files else ""
    head = f"# Customer health: {contents.name}\n\nWritten by `vitals init`. Run all commands in this folder.\n\n"
    return head + "\n".join(files) + "\n\n" + score + kafka


def existing(folder: Path, names: Sequence[str]) -> list[Path]:
    """Those of the files that exist already."""
    return [folder / name for name in names if (folder / name).exists()]


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files. Raises OSError with the file's name."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _SECRET if name == _ENV else 0o666
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            file.write(text)
