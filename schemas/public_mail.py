"""Domains of public mail providers, at which everybody can have an address.

Owns the list, which has the largest providers and cannot be complete. As an alias, or as the id of an account, such a
domain would make many customers one account. Called by `schemas.profiles` and `stream.mapping.expressions`.
"""

from __future__ import annotations

from typing import Final

PUBLIC_MAIL: Final = frozenset(
    (
        *("gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "ymail.com"),
        *("icloud.com", "me.com", "mac.com", "aol.com", "gmx.com", "gmx.de", "gmx.net", "web.de", "mail.com"),
        *("proton.me", "protonmail.com", "zoho.com", "yandex.com", "yandex.ru", "mail.ru", "qq.com", "163.com"),
    )
)
