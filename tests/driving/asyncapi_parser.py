"""Parses AsyncAPI documents with the parser of the AsyncAPI project, from npm.

Owns how the parser is fetched (one package without its dependencies: its bundle for browsers) and run with node. Must
not know which documents there are.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from tests.broker.jars import cache_dir, tool

PACKAGE = "@asyncapi/parser@3.6.6"
ERROR, WARNING = 0, 1
_WITHIN_S = 300.0
_SCRIPT = """\
globalThis.self = globalThis.window = globalThis;
const Parser = require(process.argv[2]);
const text = require("node:fs").readFileSync(0, "utf8");
new Parser().parse(text).then(({ document, diagnostics }) => {
  const channels = document ? document.allChannels().all().map((channel) => channel.address()) : null;
  const operations = document ? document.allOperations().all().map((each) => [each.action(), each.id()]) : null;
  console.log(JSON.stringify({ channels, operations, diagnostics }));
});
"""


class Parsed(NamedTuple):
    """What the parser makes of a document; channels and operations are None where it is not valid."""

    channels: list[str] | None
    operations: list[list[str]] | None
    diagnostics: list[dict[str, Any]]

    @property
    def problems(self) -> list[str]:
        """Errors and warnings, not hints."""
        return [
            f"{'/'.join(map(str, each['path']))}: {each['message']}"
            for each in self.diagnostics
            if each["severity"] in {ERROR, WARNING}
        ]


def parse(document: Any) -> Parsed:
    """Parse a document. Raises `MissingToolError` without npm, `CalledProcessError` without the package."""
    bundle = _bundle()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "parse.cjs"
        script.write_text(_SCRIPT, encoding="utf-8")
        command = [tool("node"), str(script), str(bundle)]
        done = subprocess.run(
            command, input=json.dumps(document), capture_output=True, text=True, check=True, timeout=_WITHIN_S
        )
    return Parsed(**json.loads(done.stdout))


def _bundle() -> Path:
    """The parser in one file, fetched once."""
    target = cache_dir() / "npm" / f"{PACKAGE.replace('/', '+')}.cjs"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [tool("npm"), "pack", "--silent", "--pack-destination", folder, PACKAGE]
        subprocess.run(command, check=True, timeout=_WITHIN_S, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as files:
            content = files.extractfile("package/browser/index.js")
            assert content is not None
            text = content.read()
        # Written beside its place and renamed, so that an interrupted download is never taken for a whole one.
        partial = Path(folder) / "parser.cjs"
        partial.write_bytes(text)
        partial.rename(target)
    return target
