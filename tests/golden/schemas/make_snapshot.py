"""How the schemas of the last release were kept, for the test that a change of records is an allowed one.

`python -m tests.golden.schemas.make_snapshot` writes `<version>.json` from the present code: run it when a version is
released, and delete the file of the version before. `0.1.0.json` was written by the same functions from the types at
commit cb49ad0, the last one with the modules of 0.1.0, like the changelog in `tests/golden/changelogs`.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from schemas.catalog.compatibility import Described
from schemas.catalog.json_schema import record_schema
from schemas.catalog.records import records_of
from schemas.sources import BUILT_IN

FOLDER = Path(__file__).parent


def catalog() -> dict[str, Described]:
    """The topics of the present code."""
    return {
        record.topic.name: Described("input" if record.is_input else "output", record.topic.key, record_schema(record))
        for record in records_of(BUILT_IN)
    }


def snapshots() -> list[Path]:
    """The kept catalogs of releases."""
    return sorted(FOLDER.glob("*.json"))


def read_catalog(path: Path) -> dict[str, Described]:
    """The topics of a kept catalog."""
    return {topic: Described(**described) for topic, described in json.loads(path.read_text(encoding="utf-8")).items()}


def write_catalog(path: Path, topics: dict[str, Described]) -> None:
    """Keep a catalog."""
    content = {topic: described._asdict() for topic, described in topics.items()}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_catalog(FOLDER / f"{version('account-vitals')}.json", catalog())
