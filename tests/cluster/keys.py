"""The keys of a test's own control plane: a certificate authority, a server's certificate, a key that signs tokens."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Files that a control plane and whoever talks to it need."""

    authority: Path
    server_certificate: Path
    server_key: Path
    token_key: Path


def make_keys(folder: Path) -> Keys:
    """Make all of them in `folder`, for servers on loopback. Needs the `openssl` command, version 3."""
    folder.mkdir(parents=True)
    keys = Keys(
        authority=folder / "authority.crt",
        server_certificate=folder / "server.crt",
        server_key=folder / "server.key",
        token_key=folder / "token.key",
    )
    request = ["req", "-x509", *NEW_KEY, "-days", "2"]
    _openssl(*request, "-subj", "/CN=test-authority", "-keyout", folder / "authority.key", "-out", keys.authority)
    # OpenSSL 3 signs with -CA in one call; the extensions are what Python's ssl module asks of a server.
    _openssl(
        *request,
        *("-CA", keys.authority, "-CAkey", folder / "authority.key", "-subj", "/CN=kube-apiserver"),
        *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"),
        *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"),
        *("-keyout", keys.server_key, "-out", keys.server_certificate),
    )
    _openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", keys.token_key)
    return keys


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
