"""
What settings say of the network: the origins of web pages, the addresses of proxies, rates.

Each is a text as the owner writes it, read once.  No HTTP here, and no sockets.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from connectome.errors import ConfigurationError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Origins:
    """
    The origins of web pages that may read answers, as browsers send them in ``Origin``.

    every: any origin may.
    loopback: any origin on this machine may.
    named: these may.
    """

    every: bool = False
    loopback: bool = False
    named: frozenset[str] = frozenset()

    @classmethod
    def read(cls, text: str) -> Origins:
        """
        The origins of a setting: comma-separated, with ``loopback`` for those on this machine and ``*`` for all.

        Raises:
            ConfigurationError: One of them is no origin.
        """
        listed = _listed(text)
        named = frozenset(_origin(each) for each in listed if each not in ("*", "loopback"))
        return cls("*" in listed, "loopback" in listed, named)

    def __bool__(self) -> bool:
        return self.every or self.loopback or bool(self.named)

    def __contains__(self, origin: str) -> bool:
        """Whether a page of this origin may read."""
        return self.every or origin in self.named or (self.loopback and _is_on_loopback(origin))


def _origin(text: str) -> str:
    """An origin as a browser sends it: lower case, without the port that its scheme has anyway."""
    parts = _split(text)
    if (
        parts is None
        or parts.scheme not in _DEFAULT_PORTS
        or not parts.hostname
        or not re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", parts.hostname)
        or "@" in parts.netloc
        or parts.path
        or parts.query
        or parts.fragment
    ):
        raise ConfigurationError(
            "cors is a comma-separated list of origins such as https://app.example.com (scheme, host and port, without "
            f"a path), of the word loopback for pages on this machine, and of * for all, not {text!r}"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def _is_on_loopback(origin: str) -> bool:
    parts = _split(origin)
    return parts is not None and parts.scheme in _DEFAULT_PORTS and is_loopback(parts.hostname or "")


def _split(url: str) -> SplitResult | None:
    """The parts of a URL; None of what is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own and nobody else's."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


@dataclass(frozen=True)
class Rate:
    """So many requests in so many seconds; as many may come at once."""

    count: int
    seconds: int

    @classmethod
    def read(cls, setting: str, text: str) -> Rate | None:
        """
        The rate of a setting, such as ``50/s`` or ``10/min``; None of an empty one.

        Raises:
            ConfigurationError: It is no rate.
        """
        if not text:
            return None
        found = re.fullmatch(r"\s*([1-9][0-9]{0,8})\s*/\s*(s|min|h)\s*", text)
        if found is None:
            raise ConfigurationError(f"{setting} is so many requests a second, minute or hour, such as 50/s, 10/min or "
                                     f"1000/h, or empty for no limit, not {text!r}")  # fmt: skip
        return cls(int(found[1]), _SECONDS[found[2]])


@dataclass(frozen=True)
class Proxies:
    """The addresses of proxies whose word is taken for who a client is."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def read(cls, text: str) -> Proxies:
        """
        The proxies of a setting: comma-separated addresses and networks.

        Raises:
            ConfigurationError: One of them is neither.
        """
        try:
            return cls(tuple(map(ipaddress.ip_network, _listed(text))))
        except ValueError:
            raise ConfigurationError(
                "trusted_proxy is a comma-separated list of the addresses of proxies, or of their networks, such as "
                f"127.0.0.1 or 10.0.0.0/8, not {text!r}"
            ) from None

    def __contains__(self, text: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        address = address_of(text)
        return address is not None and any(address in network for network in self.networks)


def address_of(text: str) -> Address | None:
    """An address as proxies write it, with a port or without: ``192.0.2.1:4711``, ``[2001:db8::1]``; or None."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # What comes in by a socket of both families.
    return getattr(address, "ipv4_mapped", None) or address
