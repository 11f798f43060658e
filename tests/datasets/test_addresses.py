"""Which addresses and redirects a download follows, and how messages show them."""

import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import pytest

from saliencymixplus.datasets import fetch
from saliencymixplus.errors import UserError
from saliencymixplus.settings import DownloadSettings
from tests.datasets.mirror import NAME, Mirror


def test_a_redirect_on_the_same_host_is_followed_and_said(
    settings: Any, bench: Any, mirror: Mirror
) -> None:
    mirror.faults = [f"redirect {mirror.url}/{NAME}"]
    bench.download(settings)
    assert len(mirror.asked) == 2
    assert f"{NAME}: redirected to http://127.0.0.1" in bench.lines


ADDRESSES = {"public.example": "93.184.216.34", "inside.example": "10.0.0.7"}


@pytest.mark.parametrize(
    ("start", "target", "what"),
    [
        ("https://a.example/x", "https://public.example/y", None),
        ("https://a.example/x", "https://a.example/y", None),
        ("https://inside.example/x", "https://inside.example/y", None),  # named by the user
        ("http://127.0.0.1/x", "https://public.example/y", None),
        ("https://a.example/x", "https://inside.example/y", "private network"),
        ("https://a.example/x", "https://localhost/y", "private network"),
        ("https://a.example/x", "https://169.254.169.254/y", "private network"),
        ("https://a.example/x", "https://127.1/y", "private network"),
        ("https://a.example/x", "https://[::1]/y", "private network"),
        ("https://a.example/x", "https://intranet/y", "private network"),
        ("https://a.example/x", "http://127.0.0.1/y", "only https"),
        ("https://a.example/x", "http://a.example/y", "only https"),
    ],
)
def test_redirects_lead_to_public_hosts_over_https_only(
    start: str, target: str, what: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolve(host: str, *rest: Any, **options: Any) -> Any:
        if host.endswith(("example", "intranet")) and host not in ADDRESSES:
            raise socket.gaierror(host)
        return real(ADDRESSES.get(host, host), *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    said: list[str] = []
    handler = fetch._Redirects(said.append)
    request = urllib.request.Request(start)
    if what is None:
        handler.redirect_request(request, None, 302, "", {}, target)
        assert said == [f"redirected to https://{urlsplit(target).hostname}"]
    else:
        with pytest.raises(UserError, match=what):
            handler.redirect_request(request, None, 302, "", {}, target)
        assert said == []


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@127.0.0.1:9/data?token=hunter2",
        "https://me:hunter2#x@127.0.0.1:9/data",
        "https://me:x?hunter2@127.0.0.1:9/data",
        "https://me:x/hunter2@127.0.0.1:9/data",
        "https://me:hunter2@[::1/data",
    ],
)
def test_no_password_in_any_message(bench: Any, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(fetch, "PAUSES", (0.0,))
    with pytest.raises(UserError) as caught:
        bench.download(DownloadSettings(source="cifar10", mirror=url))
    assert "hunter2" not in " ".join([str(caught.value), *bench.lines])


def test_the_query_of_a_mirror_is_kept(settings: Any, bench: Any, mirror: Mirror) -> None:
    bench.download(settings.model_copy(update={"mirror": f"{mirror.url}/?token=1"}))
    assert mirror.asked == [f"/data/{NAME}?token=1"]
