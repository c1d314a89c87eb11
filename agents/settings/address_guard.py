"""Which addresses a webhook may connect to: none inside our own network unless the settings say so (SSRF).

Owns the rule about an address; where names resolve to and when to ask is for `agents.sinks.http_post`. The rule follows
the registries of special-purpose addresses (IANA), which older versions of Python's `ipaddress` know in part only.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Allowed: TypeAlias = bool | tuple[Network, ...]

_NAT64 = IPv6Network("64:ff9b::/96")
_PUBLIC_V6 = IPv6Network("2000::/3")
"""The only IPv6 addresses that are assigned to the public."""
_NOT_PUBLIC = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")))
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
_METADATA = frozenset(map(ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254")))
"""Where clouds tell their machines secrets at addresses that look public or private (Azure, Alibaba, AWS, Google)."""


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
        if _within(address, self._networks):
            return None
        if address.is_unspecified or address.is_multicast or address in _METADATA:
            return f"{text} is no address of a web server"
        if address.is_link_local:
            return f"{text} is link-local: metadata of a cloud is served there"
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
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
