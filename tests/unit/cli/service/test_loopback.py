"""Which addresses stay on this machine, and which proxy they are asked by: none."""

import httpx
import pytest
from backupexport_cli.service.loopback import is_loopback, without_proxies


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1", False),
        ("", False),
        (None, False),
    ],
)
def test_what_stays_here(host: str | None, is_here: bool) -> None:
    assert is_loopback(host) is is_here


@pytest.mark.parametrize(
    ("server", "asked", "by_proxy"),
    [
        ("https://exports.example.com", "https://exports.example.com/api", True),
        ("https://exports.example.com", "http://localhost:1/file", False),
        ("http://127.8.9.10:8080", "http://127.8.9.10:8080/api", False),
        ("http://[::1]:8080", "http://[::1]:8080/api", False),
        ("https://10.0.0.1", "https://10.0.0.1/api", True),
    ],
)
def test_a_proxy_is_for_other_machines_alone(
    server: str, asked: str, by_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with httpx.Client(mounts=without_proxies(server)) as client:
        transport = client._transport_for_url(httpx.URL(asked))
    assert (transport is not client._transport) is by_proxy
