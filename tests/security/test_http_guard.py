"""The `http` body reaches public addresses only, and each attack here succeeds once its guard is taken away."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import httpcore
import httpx
import pytest

from flowweaver.core.events import Failed
from flowweaver.core.phases import Reason
from flowweaver.errors import UserError
from flowweaver.policy import Policy
from flowweaver.runners import addresses, http, http_connection, http_request
from flowweaver.runners.http import HttpRunner
from tests.security.sites import PUBLIC, Network, Reply, Site, attempt_of, failure_of, serving

# One attack for each row of the table, written out here: a row that is lost must not take its test along.
ATTACKS = {
    "0.0.0.0": "an unspecified address",
    "10.96.0.1": "a private address",
    "100.100.100.200": "a shared (carrier) address",
    "127.0.0.1": "a loopback address",
    "127.8.9.10": "a loopback address",
    "169.254.169.254": "a link-local or metadata address",
    "172.31.255.255": "a private address",
    "192.0.0.192": "a protocol-assignment address",
    "192.0.2.1": "a documentation address",
    "192.88.99.1": "a 6to4 relay address",
    "192.168.1.1": "a private address",
    "198.19.0.1": "a benchmarking address",
    "198.51.100.7": "a documentation address",
    "203.0.113.7": "a documentation address",
    "224.0.0.251": "a multicast address",
    "240.0.0.1": "a reserved address",
    "255.255.255.255": "a broadcast address",
    "168.63.129.16": "a metadata address",
    "::": "an unspecified address",
    "::1": "a loopback address",
    "::8.8.8.8": "an IPv4-compatible address",
    "64:ff9b:1::8.8.8.8": "a local NAT64 address",
    "100::1": "a discard address",
    "100:0:0:1::1": "a dummy address",
    "2001:1::1": "a protocol-assignment address",
    "2001:0:808:808::f7f7:f7f7": "a Teredo address",
    "2001:2::1": "a benchmarking address",
    "2001:10::1": "an ORCHID address",
    "2001:20::1": "an ORCHID address",
    "2001:db8::1": "a documentation address",
    "2002:808:808::1": "a 6to4 address",
    "3fff::1": "a documentation address",
    "5f00::1": "a segment-routing address",
    "fd00:ec2::254": "a unique local address",
    "fe80::1": "a link-local address",
    "fec0::1": "a site-local address",
    "ff02::1": "a multicast address",
    "1000::1": "a reserved address",
    "6000::1": "a reserved address",
    "9000::1": "a reserved address",
}

# IPv4 written as IPv6, or behind a translator. Some lie in rows of their own too, so that they are attacked where the
# administrator has opened all of IPv6: that opens no door to IPv4.
CARRIERS = {
    "::ffff:127.0.0.1": "a loopback address",
    "::ffff:169.254.169.254": "a link-local or metadata address",
    "64:ff9b::10.0.0.1": "a private address",
    "::10.0.0.1": "a private address",
    "64:ff9b:1::192.168.0.1": "a private address",
    "2002:7f00:1::1": "a loopback address",
    "2001:0:a00:1::f7f7:f7f7": "a private address",  # Teredo: the server's address
    "2001:0:808:808::80ff:fffe": "a loopback address",  # Teredo: the client's, inverted
}

# What the system's own resolver takes for 127.0.0.1.
SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7F.0x0.0x0.0x1",
    "017700000001",
    "127。0。0。1",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "metadata.localhost",
    "user:secret@127.0.0.1",
    "example.com@127.0.0.1",
    "example.com%2f@127.0.0.1",
    "example.com\\@127.0.0.1",
]

REACHED = "reached"


@pytest.fixture
def secret() -> Iterator[Site]:
    """The server that nobody may reach."""
    with serving(Reply.json({"token": "hunter2"})) as site:
        yield site


def told(outcome: Any, secret: Site) -> str:
    """What an attack came to: "reached", or the class of the address that it was refused for."""
    if secret.requests:
        return REACHED
    failed = failure_of(outcome)
    assert "hunter2" not in failed.message
    if failed.reason != Reason.ADDRESS_NOT_ALLOWED:
        return failed.error_type
    assert not failed.retryable
    assert "--http-allow" in failed.message
    return failed.message.partition(" leads to ")[2].partition(", and http reaches")[0]


def attack(secret: Site, url: str, *, names: Any = (), allow: tuple[str, ...] = (), sites: Any = ()) -> str:
    """Ask for `url` where every address leads to the secret server, save for `sites`."""
    network = Network(names=dict(names), sites=dict(sites), elsewhere=secret)
    outcome = network.runner(Policy(http_allow=allow))(attempt_of({"url": url}))
    answer = told(outcome, secret)
    assert (answer == REACHED) == bool(set(network.dialled) - set(dict(sites)))
    return answer


def in_url(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


@contextlib.contextmanager
def redirecting(to: str) -> Iterator[Site]:
    with serving(Reply.redirect(to)) as site:
        yield site


def redirect_attack(secret: Site, url: str, **more: Any) -> str:
    """Ask a public server that redirects to `url`."""
    with redirecting(url) as open_site:
        names = {"public.example": [[PUBLIC]], **more.pop("names", {})}
        answer = attack(secret, "http://public.example/", names=names, sites={PUBLIC: open_site}, **more)
        assert len(open_site.requests) == 1
        return answer


# ---------------------------------------------------------------------------------------------------- rows of the table


@pytest.mark.parametrize(("address", "kind"), ATTACKS.items())
def test_an_address_that_is_not_public_is_refused(secret: Site, address: str, kind: str) -> None:
    assert attack(secret, in_url(address)) == kind


@pytest.mark.parametrize(("address", "kind"), ATTACKS.items())
def test_a_name_of_an_address_that_is_not_public_is_refused(secret: Site, address: str, kind: str) -> None:
    assert attack(secret, "http://innocent.example/", names={"innocent.example": [[address]]}) == kind


@pytest.mark.parametrize(("address", "kind"), ATTACKS.items())
def test_a_redirect_to_an_address_that_is_not_public_is_refused(secret: Site, address: str, kind: str) -> None:
    assert redirect_attack(secret, in_url(address)) == kind


@pytest.mark.parametrize("address", ATTACKS)
def test_without_its_row_of_the_table_the_attack_is_told_apart_or_succeeds(
    secret: Site, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = addresses.special_network(ip_address(address), addresses.SPECIAL)
    monkeypatch.setattr(addresses, "SPECIAL", tuple(each for each in addresses.SPECIAL if each is not row))

    broader = addresses.special_network(ip_address(address), addresses.SPECIAL)

    assert attack(secret, in_url(address)) == (REACHED if broader is None else broader.kind) != ATTACKS[address]


@pytest.mark.parametrize("address", ATTACKS)
def test_without_its_row_and_those_around_it_the_attack_succeeds(
    secret: Site, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tuple(
        row
        for row in addresses.SPECIAL
        if ip_address(address).version != row.network.version or ip_address(address) not in row.network
    )
    monkeypatch.setattr(addresses, "SPECIAL", left)

    assert attack(secret, in_url(address)) == REACHED


def test_every_row_of_the_table_is_attacked() -> None:
    attacked = {addresses.special_network(ip_address(address), addresses.SPECIAL) for address in ATTACKS}

    assert [row for row in addresses.SPECIAL if row not in attacked] == []


@pytest.mark.parametrize(
    "address",
    [
        *(PUBLIC, "8.8.8.8", "172.32.0.1", "100.128.0.1", "169.253.0.1"),
        *("2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"),
    ],
)
def test_a_public_address_is_reached(secret: Site, address: str) -> None:
    assert attack(secret, in_url(address)) == REACHED


# ------------------------------------------------------------------------------------- addresses that carry another one


@pytest.mark.parametrize(("address", "kind"), CARRIERS.items())
def test_what_an_address_carries_is_judged_even_where_all_of_ipv6_is_allowed(
    secret: Site, address: str, kind: str
) -> None:
    assert attack(secret, in_url(address), allow=("::/0",)) == kind
    assert redirect_attack(secret, in_url(address), allow=("::/0",)) == kind
    assert attack(secret, in_url(address)) != REACHED


@pytest.mark.parametrize("address", CARRIERS)
def test_without_the_unwrapping_of_its_network_the_attack_succeeds(
    secret: Site, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("ALIASES", "TUNNELS"):
        unwrapped = getattr(addresses, table)
        left = {network: carried for network, carried in unwrapped.items() if ip_address(address) not in network}
        monkeypatch.setattr(addresses, table, left)

    assert attack(secret, in_url(address), allow=("::/0",)) == REACHED


def test_every_network_that_carries_addresses_is_attacked() -> None:
    networks = [*addresses.ALIASES, *addresses.TUNNELS]

    assert [network for network in networks if not any(ip_address(each) in network for each in CARRIERS)] == []


# ----------------------------------------------------------------------------------------------------- spellings, names


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_however_loopback_is_spelled_it_is_refused(secret: Site, spelling: str) -> None:
    outcome = HttpRunner(Policy())(attempt_of({"url": f"http://{spelling}:{secret.port}/"}))

    assert told(outcome, secret) in {"a loopback address", "an unspecified address"}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_redirect_to_loopback_is_refused_however_it_is_spelled(secret: Site, spelling: str) -> None:
    assert redirect_attack(secret, f"http://{spelling}:{secret.port}/") in {
        "a loopback address",
        "an unspecified address",
    }


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_without_the_guard_each_spelling_reaches_loopback(
    secret: Site, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses.AddressGuard, "refusal", lambda *_: None)

    outcome = HttpRunner(Policy())(attempt_of({"url": f"http://{spelling}:{secret.port}/"}))

    assert told(outcome, secret) == REACHED


LOCAL_NAMES = ["localhost", "metadata.localhost", "LocalHost.", "a.b.localhost."]


@pytest.mark.parametrize("name", LOCAL_NAMES)
def test_a_name_of_this_machine_is_refused_whatever_a_resolver_says(secret: Site, name: str) -> None:
    lowered = name.lower()
    assert attack(secret, f"http://{name}/", names={lowered: [[PUBLIC]]}) == "a name of this machine"


@pytest.mark.parametrize("name", LOCAL_NAMES)
def test_without_the_rule_about_its_name_that_attack_succeeds(
    secret: Site, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "is_local_name", lambda _: False)

    assert attack(secret, f"http://{name}/", names={name.lower(): [[PUBLIC]]}) == REACHED


ODD_HOSTS = ["[fe80::1%25eth0]", "[::1%lo]", "%31%32%37.0.0.1", "a..b", "-a.example", "a b.example", "x" * 64]


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_a_host_with_a_scope_an_escape_or_a_broken_label_is_refused(secret: Site, host: str) -> None:
    parsed = httpx.URL(f"http://{host}/").raw_host.decode()
    assert attack(secret, f"http://{host}/", names={parsed: [[PUBLIC]]}) == "InvalidRequest"
    assert redirect_attack(secret, f"http://{host}/", names={parsed: [[PUBLIC]]}) == "InvalidRequest"


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_without_the_rule_about_hosts_that_attack_succeeds(
    secret: Site, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_request, "is_host", lambda _: True)
    parsed = httpx.URL(f"http://{host}/").raw_host.decode()

    assert attack(secret, f"http://{host}/", names={parsed: [[PUBLIC]]}) == REACHED


@pytest.mark.parametrize("scheme", ["gopher", "ftp", "file", "ws", ""])
def test_only_http_and_https_are_spoken(secret: Site, scheme: str) -> None:
    url = f"{scheme}://public.example:80/" if scheme else "//public.example:80/"
    names = {"public.example": [[PUBLIC]]}

    assert attack(secret, url, names=names) == "InvalidRequest"
    if scheme:  # a location without one has that of the page
        assert redirect_attack(secret, url) == "InvalidRequest"


def test_without_the_rule_about_schemes_that_attack_succeeds(secret: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_request, "_checked", lambda url, _: url)

    assert attack(secret, "ws://public.example:80/", names={"public.example": [[PUBLIC]]}) == REACHED


# ----------------------------------------------------------------------------------- every address, every hop, one look


MIXED = {"mixed.example": [[PUBLIC, "10.0.0.7"]]}


def test_one_address_that_is_not_public_refuses_the_whole_name(secret: Site) -> None:
    assert attack(secret, "http://mixed.example/", names=MIXED) == "a private address"


def test_if_only_the_first_address_were_judged_that_attack_would_succeed(
    secret: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = addresses.AddressGuard.refusal
    monkeypatch.setattr(
        addresses.AddressGuard, "refusal", lambda self, host, team, found: judge(self, host, team, list(found)[:1])
    )

    network = Network(names=MIXED, sites={"10.0.0.7": secret})  # the public one does not answer

    assert told(network.runner(Policy())(attempt_of({"url": "http://mixed.example/"})), secret) == REACHED


def rebinding(secret: Site) -> tuple[str, Network]:
    """A name that is public when it is looked at, and loopback the next time."""
    with serving(Reply.json("harmless")) as open_site:
        names = {"rebind.example": [[PUBLIC], ["127.0.0.1"]]}
        network = Network(names=names, sites={PUBLIC: open_site, "127.0.0.1": secret})
        outcome = network.runner(Policy())(attempt_of({"url": "http://rebind.example/"}))
        return (REACHED if secret.requests else type(outcome).__name__), network


def test_a_name_is_resolved_once_and_the_connection_goes_to_the_address_that_was_judged(secret: Site) -> None:
    answer, network = rebinding(secret)

    assert (answer, network.asked, network.dialled) == ("Completed", ["rebind.example"], [PUBLIC])


def test_if_the_connection_resolved_again_that_attack_would_succeed(
    secret: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = http_connection.PinnedBackend.connect_tcp

    def by_name(self: Any, host: str, port: int, *more: Any, **options: Any) -> Any:
        self._addresses = self._dial.__self__.resolve(host, port)
        return pinned(self, host, port, *more, **options)

    monkeypatch.setattr(http_connection.PinnedBackend, "connect_tcp", by_name)

    assert rebinding(secret)[0] == REACHED


def test_a_name_that_is_rebound_before_a_redirect_is_judged_again(secret: Site) -> None:
    names = {"rebind.example": [[PUBLIC], ["169.254.169.254"]]}
    with serving(Reply.redirect("http://rebind.example/again")) as open_site:
        network = Network(names=names, sites={PUBLIC: open_site}, elsewhere=secret)
        outcome = network.runner(Policy())(attempt_of({"url": "http://rebind.example/"}))

    assert told(outcome, secret) == "a link-local or metadata address"
    assert network.dialled == [PUBLIC]


@pytest.mark.parametrize("address", [*ATTACKS, *CARRIERS])
def test_if_only_the_first_hop_were_judged_a_redirect_would_succeed(
    secret: Site, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = addresses.AddressGuard.refusal
    seen: list[str] = []

    def first_only(self: Any, host: str, team: str, found: Any) -> str | None:
        seen.append(host)
        return judge(self, host, team, found) if len(seen) == 1 else None

    monkeypatch.setattr(addresses.AddressGuard, "refusal", first_only)

    assert redirect_attack(secret, in_url(address)) == REACHED


# ------------------------------------------------------------------------------------------------------ the environment


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serving(Reply.json("from the proxy")) as site:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, site.url())
            monkeypatch.setenv(name.upper(), site.url())
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield site


def through_the_environment(proxy: Site) -> str:
    with serving(Reply.json("direct")) as open_site:
        network = Network(names={"public.example": [[PUBLIC]]}, sites={PUBLIC: open_site})
        network.runner(Policy())(attempt_of({"url": "http://public.example/"}))
        return REACHED if proxy.requests else f"{len(open_site.requests)} direct"


def test_no_proxy_is_taken_from_the_environment(proxy: Site) -> None:
    assert through_the_environment(proxy) == "1 direct"


def test_if_the_client_heeded_the_environment_the_proxy_would_be_reached(
    proxy: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heeding(**_: object) -> httpcore.HTTPProxy:
        return httpcore.HTTPProxy(proxy_url=urllib.request.getproxies()["http"])

    client = SimpleNamespace(**{name: getattr(httpcore, name) for name in httpcore.__all__ if hasattr(httpcore, name)})
    client.HTTPConnection = heeding
    monkeypatch.setattr(http, "httpcore", client)

    assert through_the_environment(proxy) == REACHED


def test_no_password_is_taken_from_a_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, secret: Site) -> None:
    (tmp_path / ".netrc").write_text("default login ada password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    assert attack(secret, f"http://{PUBLIC}/") == REACHED
    assert "authorization" not in secret.requests[0].headers


def test_the_address_of_the_kubernetes_api_is_refused_even_where_it_looks_public(
    secret: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", PUBLIC)
    assert attack(secret, f"http://{PUBLIC}/") == "the address of the Kubernetes API"

    monkeypatch.setattr(addresses, "_own_api_server", lambda: ())
    assert attack(secret, f"http://{PUBLIC}/") == REACHED


# ---------------------------------------------------------------------------------------------- what is allowed besides


@pytest.mark.parametrize(
    ("allow", "address", "answer"),
    [
        ("10.0.0.0/8", "10.1.2.3", REACHED),
        ("10.1.2.3", "10.1.2.3", REACHED),
        ("10.1.2.3", "10.1.2.4", "a private address"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", REACHED),  # the same address in other words
        ("10.0.0.0/8", "127.0.0.1", "a loopback address"),
        ("fd00::/8", "fd12::1", REACHED),
        ("0.0.0.0/0", "fd12::1", "a unique local address"),
        ("::/0", "10.1.2.3", "a private address"),
        ("localhost", "127.0.0.1", "a loopback address"),  # that name is allowed, not its address
    ],
)
def test_a_network_allows_its_addresses_and_nothing_else(secret: Site, allow: str, address: str, answer: str) -> None:
    assert attack(secret, in_url(address), allow=(allow,)) == answer


@pytest.mark.parametrize(
    ("allow", "host", "answer"),
    [
        ("db.internal", "db.internal", REACHED),
        ("DB.Internal.", "db.internal", REACHED),
        ("db.internal", "db.internal.", REACHED),
        ("db.internal", "other.internal", "a private address"),
        ("db.internal", "x.db.internal", "a private address"),
        ("internal", "db.internal", "a private address"),
        ("db.{namespace}.svc", "db.team.svc", REACHED),
        ("db.{namespace}.svc", "db.other.svc", "a private address"),
        ("db.{namespace}.svc", "db.team.evil.svc", "a private address"),
    ],
)
def test_a_host_name_allows_that_very_name(secret: Site, allow: str, host: str, answer: str) -> None:
    assert attack(secret, f"http://{host}/", names={host: [["10.0.0.9"]]}, allow=(allow,)) == answer


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0"])
def test_a_name_that_the_namespace_owns_allows_no_more_than_the_networks_of_a_cluster(
    secret: Site, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"names": {"db.team.svc": [[address]]}, "allow": ("db.{namespace}.svc",)}
    assert attack(secret, "http://db.team.svc/", **own) == ATTACKS[address]

    rows = tuple(addresses.SpecialNetwork(row.network, row.kind, cluster=True) for row in addresses.SPECIAL)
    monkeypatch.setattr(addresses, "SPECIAL", rows)
    assert attack(secret, "http://db.team.svc/", **own) == REACHED


@pytest.mark.parametrize("namespace", ["", "a.b", "team.evil", "*", "{namespace}"])
def test_a_namespace_that_is_none_stands_for_nothing(secret: Site, namespace: str) -> None:
    host = f"db.{namespace}.svc"
    guard = addresses.AddressGuard(Policy(http_allow=("db.{namespace}.svc",)))

    assert guard.refusal(host, namespace, [ip_address("10.0.0.9")]) == "a private address"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("10.0.0.1/8", 'write "10.0.0.0/8"'),
        ("10.0.0.0/33", "neither a network"),
        ("https://example.com", "neither a network"),
        ("*.example.com", "neither a network"),
        ("db.{team}.svc", "neither a network"),
        ("", "neither a network"),
    ],
)
def test_an_entry_that_can_not_be_read_is_refused_with_the_setting_and_the_fix(entry: str, said: str) -> None:
    with pytest.raises(UserError, match="--http-allow") as caught:
        HttpRunner(Policy(http_allow=(entry,)))

    assert said in str(caught.value)


@pytest.mark.parametrize("address", [*ATTACKS, *CARRIERS])
def test_on_ones_own_machine_nothing_is_refused(secret: Site, address: str) -> None:
    network = Network(elsewhere=secret)

    network.runner(Policy.permissive())(attempt_of({"url": in_url(address)}))

    assert len(secret.requests) == 1


def test_a_refusal_names_host_class_and_setting_and_no_secret_of_the_url(secret: Site) -> None:
    url = "http://ada:hunter2@db.internal/rows?token=hunter2#hunter2"
    network = Network(names={"db.internal": [["10.4.5.6"]]}, elsewhere=secret)

    assert network.runner(Policy())(attempt_of({"url": url})) == Failed(
        reason=Reason.ADDRESS_NOT_ALLOWED,
        error_type="AddressNotAllowed",
        message="GET http://db.internal/rows was not sent: db.internal leads to a private address, and http reaches "
        "public addresses only; the administrator can allow the host or its network with --http-allow",
        retryable=False,
    )
    assert secret.requests == []


def test_the_parts_of_the_guard_are_asked_through_these_names() -> None:
    """The mutations above replace module attributes: they would prove nothing if the code held copies."""
    users: list[tuple[Callable[..., Any], str]] = [
        (addresses.AddressGuard.__init__, "SPECIAL"),
        (addresses.AddressGuard.__init__, "_own_api_server"),
        (addresses.AddressGuard.refusal, "judged"),
        (addresses.AddressGuard.refusal, "is_local_name"),
        (addresses.judged, "ALIASES"),
        (addresses.judged, "TUNNELS"),
        (http_request._checked, "is_host"),
    ]

    assert [name for function, name in users if name not in function.__code__.co_names] == []


def test_a_host_that_no_alphabet_spells_is_told_as_it_was_written(secret: Site) -> None:
    network = Network(names={"xn--a-ecp.ru": [["10.0.0.1"]]}, sites={}, elsewhere=secret)
    failed = failure_of(network.runner(Policy())(attempt_of({"url": "http://xn--a-ecp.ru/"})))
    assert failed.message.startswith("GET http://xn--a-ecp.ru/ was not sent: xn--a-ecp.ru leads to a private address")
