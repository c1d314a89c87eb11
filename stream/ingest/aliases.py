"""Aliases of accounts: the merges that follow from the profile of an account.

Owns which merges a profile asks for, and their ids. An alias is an account that is merged into the one whose profile
names it: a control of kind `merge` goes to the partition of the alias, through the repartition topic, and
`stream.engine.merging` carries it out. A profile asks only for aliases that the account does not have yet, so that
profiles that are sent every day cost nothing. Decision 60 has the reasons. Called by `stream.engine.engine` and, where
all accounts are in one engine, by `agents.files.playback`.
"""

from __future__ import annotations

from collections.abc import Container
from typing import cast

from schemas.codecs import encode, instant_ms
from schemas.events import CONTROL_SOURCE, ControlEvent, ProfileEvent
from schemas.topics import ORIGIN_HEADER
from stream.accounts.accounts import Accounts
from stream.ingest.batch import Candidates
from stream.publishing.effects import Message


def claims_of(profile: ProfileEvent, account: str, known: Container[str], record: str) -> list[ControlEvent]:
    """The merges that follow from the aliases of an account's profile, without the aliases that are `known`.

    `record` names the record of the profile: a replay of it asks for the same merges with the same ids.
    """
    name = f"alias/{account}/{record}"
    return [
        ControlEvent(name, alias, instant_ms(profile.time), "merge", into=account, alias=True)
        for alias in profile.aliases or ()
        if alias != account and alias not in known
    ]


def claim_aliases(profiles: Candidates, accounts: Accounts) -> list[Message[bytes]]:
    """The merges that follow from profiles, as records for the partitions of the aliases."""
    headers = [(ORIGIN_HEADER, CONTROL_SOURCE.encode())]
    claims: list[ControlEvent] = []
    for index, event in enumerate(profiles.events()):
        profile, row = cast("ProfileEvent", event), int(profiles.rows[index])
        if profile.aliases:
            known = accounts.merges.origins.get(row, {})
            record = f"{profiles.batch.input}/{profiles.offsets[index]}"
            claims += claims_of(profile, accounts.index.names[row], known, record)
    return [Message(claim.account_id.encode(), encode(claim), headers) for claim in claims]
