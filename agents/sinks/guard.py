"""Which addresses a webhook may connect to: none inside our own network unless the settings say so (SSRF).

Owns the rule about an address; where names resolve to and when to ask is for `agents.sinks.posting`. The rule follows
the registries of special-purpose addresses (IANA, as Python's `ipaddress` has them).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Allowed: TypeAlias = bool | tuple[Network, ...]

_NAT64 = IPv6Network("64:ff9b::/96")
_METADATA = frozenset({ip_address("168.63.129.16")})
"""Where a cloud tells its machines secrets at an address that looks public (Azure); all others are link-local."""


def parse_networks(words: list[str]) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8`, `fd00::/8` or `192.168.1.7`. Raises `ValueError` for anything else."""
    return tuple(ip_network(word) for word in words)


class Guard:
    """The rule, with what is allowed beside public addresses.

    True allows loopback and private addresses; a network allows what is in it, whatever it is.
    """

    def __init__(self, allowed: Allowed) -> None:
        """Keep what is allowed."""
        self._private = allowed is True
        self._networks = () if isinstance(allowed, bool) else allowed

    def refusal(self, text: str) -> str | None:
        """Why an address (as the resolver gives it) must not be connected to, or None when it may."""
        address = _inner(ip_address(text.partition("%")[0]))
        if any(address.version == network.version and address in network for network in self._networks):
            return None
        if address.is_unspecified or address.is_multicast or address in _METADATA:
            return f"{text} is no address of a web server"
        if address.is_link_local:
            return f"{text} is link-local: metadata of a cloud is served there"
        if address.is_global and not address.is_reserved:
            return None
        if self._private and (address.is_private or address.is_loopback) and not address.is_reserved:
            return None
        return f"{text} is not a public address"


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
