"""IP addresses of clients and of trusted proxies: parsing, and what counts as one client.

Owns the rule by which limits count clients. Pure. Called by `agents.board.web.auth`, `throttle` and `connections`.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_CLIENT_BITS_V6 = 64
"""A host in an IPv6 network usually has 2^64 addresses of its own."""
_WIDEST = {4: 8, 6: 7}
"""Prefix of the widest private network: 10.0.0.0/8 and fc00::/7."""


def address_of(text: str | None) -> Address | None:
    """The address in a text, without its zone, or None; of an IPv4 address mapped into IPv6, the IPv4 address."""
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def client_key(text: str | None) -> str:
    """What limits count by: an IPv4 address, the /64 network of an IPv6 address, else the text."""
    address = address_of(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _CLIENT_BITS_V6), strict=False))
    return str(address) if address is not None else text or ""


def is_within(address: Address | None, networks: tuple[Network, ...]) -> bool:
    """Whether one of the networks has an address."""
    return address is not None and any(address in network for network in networks)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address."""
    address = address_of(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def too_wide(networks: tuple[Network, ...]) -> list[Network]:
    """The networks that are wider than every private network: whoever trusts them trusts strangers."""
    return [network for network in networks if network.prefixlen < _WIDEST[network.version]]
