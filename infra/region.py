"""Whether the configured endpoints lie in the declared region: names and networks that the operator vouches for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError


def parse_hosts(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of host names (`*.db.example`) and networks; raise `ValueError` for a bad one."""
    hosts = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for host in hosts:
        if "/" in host:
            ip_network(host)
        elif host.strip("*.") == "":
            raise ValueError("a pattern that every host matches")
    return hosts


def outside(url: str, allowed: Sequence[str]) -> bool:
    """Say whether an endpoint may lie outside: any of its hosts is neither this machine nor allowed.

    What cannot be known (an unreadable URL, a libpq service file) counts as outside. Names are not looked up.
    """
    try:
        hosts = list(_hosts(url))
    except (ArgumentError, ValueError):
        return True
    return any(not (is_local(host) or _matches(host, allowed)) for host in hosts)


def is_local(host: str) -> bool:
    """Say whether a host is this machine."""
    if _address(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.startswith(("/", "@"))  # Unix sockets, also abstract ones


def _hosts(url: str) -> Iterable[str]:
    parsed = make_url(url)
    named = {name: _values(parsed.query.get(name, ())) for name in ("host", "hostaddr", "service", "servicefile")}
    if parsed.get_backend_name() == "postgresql":
        if named["service"] or named["servicefile"] or "PGSERVICE" in os.environ:
            raise ValueError("a service file may name any host")
        # libpq fills in what the URL leaves open.
        if not (parsed.host or named["host"]):
            named["host"] = _values(os.environ.get("PGHOST", ""))
        if not named["hostaddr"]:
            named["hostaddr"] = _values(os.environ.get("PGHOSTADDR", ""))
    for host in (*_values(parsed.host or ""), *named["host"], *named["hostaddr"]):
        yield host if _address(host) else host.partition(":")[0]


def _values(found: str | Iterable[str]) -> list[str]:
    parts = [found] if isinstance(found, str) else list(found)
    return [host.strip().lower() for part in parts for host in part.split(",") if host.strip()]


def _address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _matches(host: str, allowed: Sequence[str]) -> bool:
    if _address(host):
        return any("/" in pattern and ip_address(host) in ip_network(pattern) for pattern in allowed) or host in allowed
    return any("/" not in pattern and fnmatchcase(host, pattern) for pattern in allowed)
