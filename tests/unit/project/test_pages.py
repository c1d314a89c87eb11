"""A page is read as a reader follows it, and output that differs from the page is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.steps import Command, File, steps

PAGE = """\
Save it as `first.toml`:

```toml title="first.toml"
name = "first"
```

```json
{"not": "a file"}
```

```console
$ cd folder
$ vitals check
policy …: 1 measures
…
settings: ok
```

```console title="Second terminal"
$ vitals worker
```
"""


def test_a_page_gives_its_files_and_commands_in_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, "utf-8")
    assert list(steps(page)) == [
        File("first.toml", 'name = "first"\n'),
        Command("cd folder", ()),
        Command("vitals check", ("policy …: 1 measures", "…", "settings: ok")),
        Command("vitals worker", (), "Second terminal"),
    ]


CHECK = Command("vitals check", ("policy …: 1 measures", "…", "settings: ok"))


@pytest.mark.parametrize(
    "output",
    [
        "policy first@1: 1 measures\nsettings: ok\n",
        "policy : 1 measures\n\nsomething\nsettings: ok\n",
        "policy first@1: 1 measures  \nsettings: ok",
    ],
)
def test_what_the_page_shows_is_accepted(output: str) -> None:
    assert CHECK.prints(output)


@pytest.mark.parametrize(
    "output",
    [
        "",
        "policy first@1: 2 measures\nsettings: ok\n",
        "policy first@1\n: 1 measures\nsettings: ok\n",
        "before\npolicy first@1: 1 measures\nsettings: ok\n",
        "policy first@1: 1 measures\nsettings: ok\nafter\n",
        "policy first@1: 1 measures\nsettings: wrong\n",
    ],
)
def test_what_the_page_does_not_show_is_noticed(output: str) -> None:
    assert not CHECK.prints(output)


def test_a_command_without_output_on_the_page_must_print_nothing() -> None:
    assert Command("cd folder", ()).prints("")
    assert not Command("cd folder", ()).prints("cd: no such folder\n")
