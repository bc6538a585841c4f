"""The table of special networks against all addresses, not only those that somebody thought of."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowweaver.policy import Policy
from flowweaver.runners.addresses import SPECIAL, Address, AddressGuard, judged, special_network

DEFAULT = AddressGuard(Policy())
OPEN_IPV6 = AddressGuard(Policy(http_allow=("::/0",)))


@given(st.ip_addresses())
@example(IPv4Address("100.64.0.1"))  # `ipaddress` alone would say: not private, and not global either
def test_what_the_guard_lets_through_is_global_to_python_too(address: Address) -> None:
    if DEFAULT.refusal("host.example", "team", [address]) is None:
        assert all(each.is_global and not each.is_multicast for each in judged(address))


def _carried(address: IPv4Address) -> list[IPv6Address]:
    number = int(address)
    public = int(IPv4Address("8.8.8.8"))
    return [
        IPv6Address(int(IPv6Address("::ffff:0:0")) | number),
        IPv6Address(int(IPv6Address("64:ff9b::")) | number),
        IPv6Address(int(IPv6Address("64:ff9b:1::")) | number),
        IPv6Address(int(IPv6Address("2002::")) | number << 80 | 1),
        IPv6Address(int(IPv6Address("2001::")) | number << 64 | public ^ 0xFFFF_FFFF),
        IPv6Address(int(IPv6Address("2001::")) | public << 64 | number ^ 0xFFFF_FFFF),
    ]


@given(st.ip_addresses(v=4))
def test_no_way_to_write_an_ipv4_address_as_ipv6_reaches_what_ipv4_does_not(address: IPv4Address) -> None:
    refused = DEFAULT.refusal("host.example", "team", [address])

    assert [OPEN_IPV6.refusal("host.example", "team", [each]) for each in _carried(address)] == [refused] * 6


@pytest.mark.parametrize("row", SPECIAL, ids=lambda row: str(row.network))
def test_a_network_is_special_from_its_first_to_its_last_address(row: object) -> None:
    first, last = row.network[0], row.network[-1]
    broader = [each for each in SPECIAL if each.network.version == first.version and each is not row]

    for address in (first, last):
        found = special_network(address, SPECIAL)
        assert found is row or (found in broader and found.network.subnet_of(row.network))


def test_no_two_rows_are_the_same_network_and_none_covers_all() -> None:
    networks = [row.network for row in SPECIAL]

    assert len(set(networks)) == len(networks)
    assert not {ip_network("0.0.0.0/0"), ip_network("::/0")} & set(networks)
