"""A Chromium for the web page's tests: finding it, installing it, and watching what it does."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import own_network
from local_cluster import packages
from local_cluster.errors import ClusterError
from local_cluster.layout import cache_directory
from playwright.sync_api import Browser, Page, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_DEBIAN_PACKAGE = "chromium"
# What a page is to show it may show late on a busy machine.
expect.set_options(timeout=60_000)
# Chromium's own word on a refusal or a lost connection, which some stories are about.
_ANSWER_NOT_OK = "Failed to load resource:"


def executable() -> str | None:
    """The browser on this machine."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def install() -> None:
    """Have a browser, from Debian's packages where there is none."""
    if executable() is not None:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ClusterError(
            "The web page's tests need Chromium. Debian's package is installed by itself only "
            f"for root: install it, or have one of these on the PATH: {', '.join(_NAMES)}."
        )
    packages.install([_DEBIAN_PACKAGE], cache_directory() / "logs")


@contextmanager
def chromium(url: str) -> Iterator[Browser]:
    """A headless Chromium that reaches `url`, of 127.0.0.1."""
    with ExitStack() as stack:
        starting = ExitStack()
        if own_network.is_possible():
            network = stack.enter_context(own_network.own_network(url))
            starting.enter_context(network.entered())
        with starting:
            playwright = stack.enter_context(sync_playwright())
        # Root has no user namespace to build Chromium's sandbox in.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable(), args=options)
        stack.callback(browser.close)
        yield browser


@dataclass
class Watched:
    """A page, what it asked for, what never came, and what the browser found wrong with it."""

    page: Page
    host: str
    requests: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def asked_elsewhere(self) -> list[str]:
        """Requests to other hosts."""
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme != "data" and urlsplit(url).netloc != self.host
        ]

    def asked_for(self, path: str) -> int:
        """How many requests there were for a path."""
        return sum(urlsplit(url).path == path for url in self.requests)


@contextmanager
def watched_page(browser: Browser, url: str, **options: Any) -> Iterator[Watched]:
    """A page in a context of its own, below `url`."""
    context = browser.new_context(base_url=url, locale="en-GB", **options)
    watched = Watched(context.new_page(), urlsplit(url).netloc)

    def answered(url: str, status: int) -> None:
        if status >= 400 and not urlsplit(url).path.startswith("/api/"):
            watched.complaints.append(f"{status} for {url}")

    def said(kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not text.startswith(_ANSWER_NOT_OK):
            watched.complaints.append(f"{kind}: {text}")

    context.on("request", lambda request: watched.requests.append(request.url))
    context.on(
        "requestfailed", lambda request: watched.broken.append(f"{request.url} {request.failure}")
    )
    context.on("response", lambda response: answered(response.url, response.status))
    context.on("console", lambda message: said(message.type, message.text))
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    try:
        yield watched
    finally:
        context.close()


def main() -> int:
    """Have a browser; the exit code says whether there is one."""
    try:
        install()
    except ClusterError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
