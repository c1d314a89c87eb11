"""Decides which IP addresses a webhook may connect to: public ones, and those that the settings allow (SSRF).

Owns the rule about an address; names are resolved by `agents.sinks.http_post`. The rule follows the IANA registries of
special-purpose addresses, which older versions of Python's `ipaddress` have only in part.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Allowed: TypeAlias = bool | tuple[Network, ...]

_NAT64 = IPv6Network("64:ff9b::/96")
_PUBLIC_V6 = IPv6Network("2000::/3")
"""The only IPv6 addresses that are assigned for public use."""
_NOT_PUBLIC = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")))
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
_METADATA = frozenset(map(ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254")))
"""Metadata services of clouds at addresses that look public or private (Azure, Alibaba, AWS, Google)."""


def parse_networks(words: list[str]) -> tuple[Network, ...]:
    """Parse networks such as `10.0.0.0/8`, `fd00::/8` or `192.168.1.7`. Raises `ValueError`."""
    return tuple(ip_network(word) for word in words)


class Guard:
    """The rule, with what the settings allow besides public addresses.

    True allows loopback and private addresses; a network allows every address in it.
    """

    def __init__(self, allowed: Allowed) -> None:
        """`allowed` is the setting `webhook_allow_private`."""
        self._private = allowed is True
        self._networks = () if isinstance(allowed, bool) else allowed

    def refusal(self, text: str) -> str | None:
        """Why an address (as the resolver returns it) is refused, or None if it is allowed."""
        address = _inner(ip_address(text.partition("%")[0]))
        if _within(address, self._networks):
            return None
        if address.is_unspecified or address.is_multicast or address in _METADATA:
            return f"{text} is not an address of a web server"
        if address.is_link_local:
            return f"{text} is link-local: clouds serve metadata there"
        if self._private and (address.is_loopback or _within(address, _PRIVATE)):
            return None
        return None if _is_public(address) else f"{text} is not a public address"


def _is_public(address: Address) -> bool:
    if _within(address, _NOT_PUBLIC) or (address.version == _PUBLIC_V6.version and address not in _PUBLIC_V6):
        return False
    return address.is_global and not address.is_reserved


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 address (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
