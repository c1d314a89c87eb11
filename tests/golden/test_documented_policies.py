"""The policies that docs/reference/policy shows; the numbers that they give are in `cases`."""

from __future__ import annotations

from stream.policy.policy import parse_policy
from tests.pages.blocks import POLICY_PAGES, blocks, text_of

SHOWN: dict[str, str] = {parse_policy(text).name: text for text in blocks("toml", *POLICY_PAGES)}


def changed(name: str, old: str, new: str) -> str:
    assert SHOWN[name].count(old) == 1
    return SHOWN[name].replace(old, new)


def test_every_policy_shown_is_read() -> None:
    assert len(SHOWN) == text_of(*POLICY_PAGES).count("```toml")
