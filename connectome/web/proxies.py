"""Who a client is, where a trusted proxy says so.  WSGI, no Flask."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from connectome.network import Proxies, address_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


class Forwarded:
    """
    Puts address, scheme and host of the client in the place of the proxy's.

    ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are read, or ``Forwarded`` (RFC 7239): from the right, up to the first
    address that is not a trusted proxy's, since what stands left of it the client may have written.  Where both came,
    one of them may be the client's own, and neither is read.

    onward: the application that answers.
    """

    def __init__(self, onward: WSGIApplication, proxies: Proxies) -> None:
        self.onward = onward
        self._proxies = proxies

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("REMOTE_ADDR", "") in self._proxies:
            standard = environ.get("HTTP_FORWARDED")
            hops, scheme, host = (environ.get(f"HTTP_X_FORWARDED_{name}") for name in ("FOR", "PROTO", "HOST"))
            custom = hops or scheme or host
            if custom and standard is None:
                self._tell(environ, (hops or "").split(","), _last(scheme), _last(host))
            elif standard is not None and not custom:
                pairs = [_pairs(each) for each in standard.split(",")]
                self._tell(
                    environ, [each.get("for", "") for each in pairs], pairs[-1].get("proto"), pairs[-1].get("host")
                )
        return self.onward(environ, start_response)

    def _tell(self, environ: WSGIEnvironment, hops: Sequence[str], scheme: str | None, host: str | None) -> None:
        for hop in reversed(hops):
            address = address_of(hop)
            if address is None:  # nobody knows who is behind that
                break
            environ["REMOTE_ADDR"] = str(address)
            if hop not in self._proxies:
                break
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        if host and _HOST.fullmatch(host):
            environ["HTTP_HOST"] = host


def _last(listed: str | None) -> str | None:
    return None if listed is None else listed.rpartition(",")[2].strip()


def _pairs(hop: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in hop.split(";"))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
