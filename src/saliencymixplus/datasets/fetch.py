"""Fetch one file over HTTPS."""

import http.client
import ipaddress
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from saliencymixplus.errors import UserError, one_line
from saliencymixplus.files import remove
from saliencymixplus.progress import Report, progress
from saliencymixplus.version import __version__

TIMEOUT = 60.0  # seconds without a byte
PAUSES = (1.0, 5.0)  # seconds before the second and the third attempt


def check_address(url: str) -> None:
    """Accept https anywhere, and http on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:  # its text may contain part of the password
        raise UserError(
            f"download.mirror: {plain(url)} is not a valid address (in a password, escape / ? # @ "
            "as %2F %3F %23 %40)"
        ) from error
    if not host:
        raise UserError(f"download.mirror: {plain(url)} has no host")
    if parts.username is not None:  # urllib cannot use it, and would print it
        raise UserError(
            f"download.mirror: user names in addresses, as for {plain(url)}, are not supported: "
            "fetch the archives yourself and give their folder"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise UserError(
            f"{plain(url)}: only https is allowed (http only on this machine): "
            "give download.mirror an https address or a folder"
        )


def fetch(url: str, path: Path, *, report: Report) -> None:
    """Write the response of ``url`` to ``path``, in up to three attempts.

    Redirects are followed over https to the same or a public host, and reported. The caller must
    verify the content.

    Raises:
        UserError: the server cannot be reached, refuses, or disconnects; ``path`` then does not
            exist.
    """
    check_address(url)
    name = path.name
    report(f"fetching {name} from {urlsplit(url).hostname}")
    for pause in (*PAUSES, None):
        try:
            _attempt(url, path, report)
            return
        except (OSError, http.client.HTTPException) as error:
            remove(path)
            reason = _reason(error)
            # Retrying helps if the server is overloaded, not if the file or redirect is wrong.
            final = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if pause is None or final:
                raise UserError(
                    f"cannot fetch {plain(url)}: {reason}; try again, or set download.mirror"
                ) from error
            report(f"{name}: {reason}; trying again in {pause:.0f} s")
            time.sleep(pause)
        except BaseException:
            remove(path)
            raise


def plain(url: str) -> str:
    """The address without user, password and query, safe to print."""
    scheme, separator, rest = url.partition("://")
    try:
        urlsplit(url).port  # noqa: B018
    except ValueError:  # unescaped / ? # in a password: the host is after the @
        rest = rest.rpartition("@")[2]
    address = rest.split("?", 1)[0].split("#", 1)[0]
    host, slash, tail = address.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{tail}"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only over https, and only to the same host or a public one."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        check_address(newurl)
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        where = f"{plain(req.full_url)} redirects to {plain(newurl)}"
        same_host = new.hostname == old.hostname
        if new.scheme != "https" and not (same_host and old.scheme == new.scheme):
            raise UserError(f"{where}: only https is followed: name another download.mirror")
        if not same_host and not _is_public(new.hostname or ""):
            raise UserError(
                f"{where}, an address of this machine or a private network, which is not followed: "
                "if you trust it, name it as download.mirror"
            )
        self._say(f"redirected to {new.scheme}://{new.hostname}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _attempt(url: str, path: Path, report: Report) -> None:
    handlers: list[Any] = [_Redirects(lambda text: report(f"{path.name}: {text}"))]
    if _is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    headers = {"User-Agent": f"saliencymixplus/{__version__}"}
    request = urllib.request.Request(url, headers=headers)
    with opener.open(request, timeout=TIMEOUT) as answer, path.open("wb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        with progress(path.name, total, report, "bytes") as advance:
            done = 0
            while piece := answer.read(1 << 18):
                file.write(piece)
                done += len(piece)
                advance(len(piece))
        if total is not None and done != total:
            raise ConnectionError(f"broke off after {done} of {total} bytes")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return one_line(cause) or type(error).__name__


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_public(host: str) -> bool:
    """Whether all addresses of ``host`` are public, or only a proxy can resolve it."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return "." in host
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return all((getattr(a, "ipv4_mapped", None) or a).is_global for a in addresses)
