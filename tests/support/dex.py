"""Dex, a real OpenID Connect issuer, on loopback (cluster/dex), and somebody who logs in there."""

import html
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from local_cluster.build import build_dex
from local_cluster.layout import cache_directory
from local_cluster.locking import turn
from playground.forward import free_port
from playground.tools import wait_for

CLIENT = "command-line"
EMAIL = "person@example.com"
_LOCK = Path("/run/lock/backupexport-dex.lock")
_START_SECONDS = 30
_END_SECONDS = 15


@dataclass(frozen=True)
class Dex:
    """Where it is, and the password of its only person."""

    url: str
    password: str

    def log_in(self, page: str) -> str:
        """Go through the pages as a browser does, from one with the code in it; return the last."""
        with httpx.Client(trust_env=False, follow_redirects=True) as browser:
            asks_for_code = browser.get(page).raise_for_status()
            asks_for_password = _sent(browser, asks_for_code, {})
            who = {"login": EMAIL, "password": self.password}
            return _sent(browser, asks_for_password, who).text


@contextmanager
def dex(folder: Path, **flags: str) -> Iterator[Dex]:
    """A server until the end of the context; its log lies in `folder`."""
    url, password = f"http://127.0.0.1:{free_port()}", secrets.token_urlsafe(12)
    cache = cache_directory()
    with turn(_LOCK, "Dex"):
        program = build_dex(cache, cache / "logs")
    options = {"listen": url.removeprefix("http://"), "client": CLIENT, "email": EMAIL, **flags}
    log = folder / "dex.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(program),
                *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PASSWORD": password},
            # A Ctrl-C is for this process, which then ends it.
            start_new_session=True,
        )
    try:
        wait_for(lambda: _is_ready(process, url, log), "Dex", _START_SECONDS)
        yield Dex(url, password)
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sent(browser: httpx.Client, page: httpx.Response, filled: dict[str, str]) -> httpx.Response:
    """Send the page's form, with what stands in it already."""
    form = re.search(r'<form method="post" action="([^"]*)"', page.text)
    assert form is not None, page.text
    there = dict(re.findall(r'name="(\w+)"[^>]*?value="([^"]*)"', page.text))
    target = page.url.join(html.unescape(form[1]))
    return browser.post(target, data={**there, **filled}).raise_for_status()


def _is_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"Dex has ended:\n{log.read_text()}")
    try:
        found = httpx.get(f"{url}/.well-known/openid-configuration", trust_env=False)
    except httpx.TransportError:
        return False
    return found.is_success
