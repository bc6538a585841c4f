"""Which addresses the `http` body may reach: the guard against being used as a door into the cluster.

A task says a URL; this process stands where the cloud's metadata service, the Kubernetes API and every other tenant can
be reached. So only public addresses are reachable unless the administrator allows more (`--http-allow`):

- a network (CIDR) or an address allows the addresses in it;
- a host name allows whatever that very name resolves to, and no other name that leads to the same place. A name in
  which `{namespace}` stands for the workflow's namespace is the tenant's own to point anywhere (a Service may be an
  alias), so that it allows networks of a cluster only (private, shared, unique local), never loopback, link-local or
  metadata addresses.

Every address of a name must pass, and an address that carries another one (IPv4-mapped, NAT64, 6to4, Teredo …) is
judged by the one that it leads to as well. The table is written out, with its source, because `ipaddress.is_global` has
changed its mind between versions of Python. This module must not resolve or connect: it is given addresses and answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from flowweaver.errors import UserError
from flowweaver.policy import Policy

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING = "--http-allow"


@dataclass(frozen=True, slots=True)
class SpecialNetwork:
    """A network that is not public. `kind` says in words what an address in it is."""

    network: Network
    kind: str
    cluster: bool = False  # where a cluster's own pods and services usually live


def _row(network: str, kind: str, *, cluster: bool = False) -> SpecialNetwork:
    return SpecialNetwork(ip_network(network), kind, cluster)


SPECIAL: tuple[SpecialNetwork, ...] = (
    # IANA IPv4 Special-Purpose Address Registry: what is not "globally reachable", and multicast from the IPv4 Address
    # Space Registry. 192.0.0.0/24 is refused as a whole, its two reachable anycast addresses serve no HTTP.
    _row("0.0.0.0/8", "an unspecified address"),  # RFC 791: Linux takes 0.0.0.0 for this host
    _row("10.0.0.0/8", "a private address", cluster=True),  # RFC 1918
    _row("100.64.0.0/10", "a shared (carrier) address", cluster=True),  # RFC 6598
    _row("127.0.0.0/8", "a loopback address"),  # RFC 1122
    _row("169.254.0.0/16", "a link-local or metadata address"),  # RFC 3927
    _row("172.16.0.0/12", "a private address", cluster=True),  # RFC 1918
    _row("192.0.0.0/24", "a protocol-assignment address"),  # RFC 6890
    _row("192.0.2.0/24", "a documentation address"),  # RFC 5737
    _row("192.88.99.0/24", "a 6to4 relay address"),  # RFC 7526
    _row("192.168.0.0/16", "a private address", cluster=True),  # RFC 1918
    _row("198.18.0.0/15", "a benchmarking address"),  # RFC 2544
    _row("198.51.100.0/24", "a documentation address"),  # RFC 5737
    _row("203.0.113.0/24", "a documentation address"),  # RFC 5737
    _row("224.0.0.0/4", "a multicast address"),  # RFC 5771
    _row("240.0.0.0/4", "a reserved address"),  # RFC 1112
    _row("255.255.255.255/32", "a broadcast address"),  # RFC 919
    # No registry has it: the host's own agent on one large cloud, which hands out credentials like a metadata service.
    _row("168.63.129.16/32", "a metadata address"),
    # IANA IPv6 Special-Purpose Address Registry.
    _row("::/128", "an unspecified address"),  # RFC 4291
    _row("::1/128", "a loopback address"),  # RFC 4291
    _row("::/96", "an IPv4-compatible address"),  # RFC 4291, deprecated
    _row("64:ff9b:1::/48", "a local NAT64 address"),  # RFC 8215
    _row("100::/64", "a discard address"),  # RFC 6666
    _row("100:0:0:1::/64", "a dummy address"),  # RFC 9780
    _row("2001::/23", "a protocol-assignment address"),  # RFC 2928
    _row("2001::/32", "a Teredo address"),  # RFC 4380
    _row("2001:2::/48", "a benchmarking address"),  # RFC 5180
    _row("2001:10::/28", "an ORCHID address"),  # RFC 4843, deprecated
    _row("2001:20::/28", "an ORCHID address"),  # RFC 7343
    _row("2001:db8::/32", "a documentation address"),  # RFC 3849
    _row("2002::/16", "a 6to4 address"),  # RFC 3056
    _row("3fff::/20", "a documentation address"),  # RFC 9637
    _row("5f00::/16", "a segment-routing address"),  # RFC 9602
    _row("fc00::/7", "a unique local address", cluster=True),  # RFC 4193
    _row("fe80::/10", "a link-local address"),  # RFC 4291
    # IANA IPv6 Address Space Registry: only 2000::/3 is global unicast, so that all the rest is refused.
    _row("fec0::/10", "a site-local address"),  # RFC 3879, deprecated
    _row("ff00::/8", "a multicast address"),  # RFC 4291
    _row("::/3", "a reserved address"),
    _row("4000::/2", "a reserved address"),
    _row("8000::/1", "a reserved address"),
)


def special_network(address: Address, table: Iterable[SpecialNetwork]) -> SpecialNetwork | None:
    """The narrowest network of the table that the address is in; None: it is public."""
    found = [row for row in table if address.version == row.network.version and address in row.network]
    return max(found, key=lambda row: row.network.prefixlen, default=None)


# ------------------------------------------------------------------------------------- addresses that carry others


def _lowest(address: IPv6Address) -> tuple[IPv4Address, ...]:
    return (IPv4Address(int(address) & 0xFFFF_FFFF),)


def _six_to_four(address: IPv6Address) -> tuple[IPv4Address, ...]:
    return (IPv4Address(int(address) >> 80 & 0xFFFF_FFFF),)


def _teredo(address: IPv6Address) -> tuple[IPv4Address, ...]:
    server, client = int(address) >> 64 & 0xFFFF_FFFF, ~int(address) & 0xFFFF_FFFF  # the client's bits are inverted
    return (IPv4Address(server), IPv4Address(client))


#: Networks that are nothing but another way to write IPv4: an address in them is the one that it carries.
ALIASES: Mapping[IPv6Network, Callable[[IPv6Address], tuple[IPv4Address, ...]]] = {
    IPv6Network("::ffff:0:0/96"): _lowest,  # IPv4-mapped: the kernel itself connects to the IPv4 address
    IPv6Network("64:ff9b::/96"): _lowest,  # NAT64, RFC 6052: what DNS64 makes of every IPv4 address
}

#: Networks whose addresses lead to another one: where such an address is allowed, the one that it carries must be too.
TUNNELS: Mapping[IPv6Network, Callable[[IPv6Address], tuple[IPv4Address, ...]]] = {
    IPv6Network("::/96"): _lowest,  # IPv4-compatible
    IPv6Network("64:ff9b:1::/48"): _lowest,  # NAT64 with a prefix of its own, RFC 8215
    IPv6Network("2002::/16"): _six_to_four,  # RFC 3056
    IPv6Network("2001::/32"): _teredo,  # RFC 4380, section 4
}

_OWN_LIMIT = IPv6Address("::ffff")  # `::1` and its neighbours are themselves, and carry nothing


def judged(address: Address) -> tuple[Address, ...]:
    """Every address that must be allowed for this one to be."""
    if isinstance(address, IPv4Address):
        return (address,)
    for network, carried in ALIASES.items():
        if address in network:
            return carried(address)
    for network, carried in TUNNELS.items():
        if address in network and address > _OWN_LIMIT:
            return (address, *carried(address))
    return (address,)


# ------------------------------------------------------------------------------------------------------- host names

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PLACEHOLDER = "{namespace}"


def canonical_name(host: str) -> str:
    """How a host is compared: lower case, without the dot that marks a name as absolute."""
    return host.lower().removesuffix(".")


def is_host(host: str) -> bool:
    """Whether it is an address or a host name, spelled in ASCII, and nothing with a scope, escape or empty label."""
    if ":" in host:
        try:
            return "%" not in host and bool(ip_address(host))
        except ValueError:
            return False
    return len(host) <= 253 and _HOST_NAME.fullmatch(canonical_name(host)) is not None


def is_local_name(host: str) -> bool:
    """Whether it is a name for this very machine, whatever a resolver says of it (RFC 6761)."""
    return canonical_name(host) == "localhost" or canonical_name(host).endswith(".localhost")


# -------------------------------------------------------------------------------------------------------- the guard


def _own_api_server() -> tuple[SpecialNetwork, ...]:
    # A cluster's service network may use addresses that look public; this one is known.
    try:
        address = ip_address(os.environ.get("KUBERNETES_SERVICE_HOST", ""))
    except ValueError:
        return ()
    return (SpecialNetwork(ip_network(address), "the address of the Kubernetes API"),)


class AddressGuard:
    """What one policy allows. Raises `UserError` for an entry of `http_allow` that is neither network nor host name."""

    def __init__(self, policy: Policy) -> None:
        self._off = policy.http_anywhere
        self._special = (*SPECIAL, *_own_api_server())
        self._networks: list[Network] = []
        self._names: set[str] = set()
        self._patterns: set[str] = set()
        for entry in policy.http_allow:
            self._add(entry.strip())

    def _add(self, entry: str) -> None:
        network = _network(entry)
        name = canonical_name(entry)
        if network is not None:
            self._networks.append(network)
        elif not is_host(name.replace(_PLACEHOLDER, "n")):
            raise UserError(
                f'{SETTING}: "{entry}" is neither a network (10.1.0.0/16), an address nor a host name '
                "(api.example.com, api.{namespace}.svc.cluster.local)"
            )
        elif _PLACEHOLDER in name:
            self._patterns.add(name)
        else:
            self._names.add(name)

    def refusal(self, host: str, namespace: str, addresses: Iterable[Address]) -> str | None:
        """What speaks against connecting to `host`, which has these addresses, for a workflow of that namespace: in
        words, such as "a private address"; None: nothing.
        """
        if self._off or canonical_name(host) in self._names:
            return None
        own = self._is_own_name(host, namespace)
        local = is_local_name(host)
        for address in addresses:
            for carried in judged(address):
                kind = self._refused_kind(carried, own=own, local=local)
                if kind is not None:
                    return kind
        return None

    def _refused_kind(self, address: Address, *, own: bool, local: bool) -> str | None:
        if any(address.version == network.version and address in network for network in self._networks):
            return None
        row = special_network(address, self._special)
        if row is None:
            return "a name of this machine" if local else None
        return None if own and row.cluster else row.kind

    def _is_own_name(self, host: str, namespace: str) -> bool:
        if _NAMESPACE.fullmatch(namespace) is None:
            return False
        return any(canonical_name(host) == pattern.replace(_PLACEHOLDER, namespace) for pattern in self._patterns)


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry)
    except ValueError as exc:
        if "has host bits set" in str(exc):
            whole = ip_network(entry, strict=False)
            raise UserError(f'{SETTING}: "{entry}" is an address within a network; write "{whole}"') from exc
        return None
