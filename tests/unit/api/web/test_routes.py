"""The web page and the API docs as a browser's requests see them."""

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import backupexport_api
import httpx
import pytest

WEB = Path(backupexport_api.__file__).parent / "web"
PAGES = ("/", "/docs")
SWAGGER_UI = "/assets/swagger-ui/swagger-ui-bundle.js"


def policy_of(response: httpx.Response) -> dict[str, str]:
    parts = response.headers["Content-Security-Policy"].split("; ")
    return {name: value for name, _, value in (part.partition(" ") for part in parts)}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_may_load_only_what_is_ours_and_nothing_inline(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = policy_of(response)
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert {policy[name] for name in ("form-action", "base-uri", "frame-ancestors")} == {"'none'"}
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in response.headers["Permissions-Policy"]
    assert response.headers["Cache-Control"] == "no-cache"


async def test_no_text_becomes_code_on_our_own_page(client: httpx.AsyncClient) -> None:
    policy = policy_of(await client.get("/"))
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"


class Links(HTMLParser):
    """What a page loads or points to, and what a strict policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.targets += [value for name in ("src", "href") if (value := given.get(name))]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


@pytest.mark.parametrize("path", PAGES)
async def test_all_that_a_page_names_is_there_and_relative(
    client: httpx.AsyncClient, path: str
) -> None:
    links = Links()
    links.feed((await client.get(path)).text)
    assert links.inline == []
    assert len(links.targets) >= 3
    for target in links.targets:
        # Relative, so that a prefix in front of the whole does no harm.
        assert not re.match(r"/|\w+:", target)
        if not target.startswith("#"):
            assert (await client.get(f"/{target}")).status_code == 200, target


@pytest.mark.parametrize("file", sorted(WEB.glob("*.js")), ids=lambda file: file.name)
async def test_a_module_imports_only_its_neighbours_and_never_sets_markup(
    client: httpx.AsyncClient, file: Path
) -> None:
    response = await client.get(f"/assets/{file.name}")
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    for module in re.findall(r'from "([^"]+)"', response.text):
        assert (WEB / module).is_file()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Storage|\.cookie",
        response.text,
    )
    assert len(response.text.splitlines()) <= 300


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
        (SWAGGER_UI, "text/javascript; charset=utf-8"),
        ("/assets/swagger-ui/swagger-ui.css", "text/css; charset=utf-8"),
    ],
)
async def test_an_asset_says_what_it_is(
    client: httpx.AsyncClient, path: str, media_type: str
) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == media_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/nothing.js",
        "/assets/index.html",
        "/assets/../app.py",
        "/assets/..%2fapp.py",
        "/assets/%2e%2e/app.py",
        "/assets/swagger-ui/",
        "/assets/swagger-ui/redoc.standalone.js",
        "/assets/swagger-ui/../../core.py",
        "/assets//etc/passwd",
        "/docs/",
        "/docs/oauth2-redirect",
        "/index.html",
        "/redoc",
    ],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_found"


@pytest.mark.parametrize("path", [*PAGES, "/assets/app.js"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    got, headed = await client.get(path), await client.head(path)
    assert headed.status_code == 200
    assert headed.content == b""
    different = {"x-request-id"}
    assert {k: v for k, v in headed.headers.items() if k not in different} == {
        k: v for k, v in got.headers.items() if k not in different
    }


@pytest.mark.parametrize("path", [*PAGES, "/assets/app.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_other_methods_are_refused(client: httpx.AsyncClient, path: str, method: str) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["Content-Type"] == "application/problem+json"
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", [*PAGES, "/assets/app.js"])
async def test_what_a_browser_has_is_not_sent_again(client: httpx.AsyncClient, path: str) -> None:
    etag = (await client.get(path)).headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
        assert again.headers["Cache-Control"] == "no-cache"
    changed = await client.get(path, headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200


async def test_compressed_where_that_is_understood(client: httpx.AsyncClient) -> None:
    async def fetch(accepted: str) -> httpx.Response:
        return await client.get("/assets/app.js", headers={"Accept-Encoding": accepted})

    plain, gzipped = await fetch("identity"), await fetch("br, GZIP;q=0.5")
    assert "Content-Encoding" not in plain.headers
    assert gzipped.headers["Content-Encoding"] == "gzip"
    assert int(gzipped.headers["Content-Length"]) == len(gzip.compress(plain.content, mtime=0))
    assert gzipped.content == plain.content == (WEB / "app.js").read_bytes()
    assert gzipped.headers["ETag"] != plain.headers["ETag"]
    assert {plain.headers["Vary"], gzipped.headers["Vary"]} == {"Accept-Encoding"}
    assert "Content-Encoding" not in (await fetch("gzip; q=0")).headers


async def test_the_openapi_document_is_about_the_api_alone(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith(("/docs", "/assets"))]


async def test_json_has_no_headers_of_the_pages(client: httpx.AsyncClient) -> None:
    assert "Content-Security-Policy" not in (await client.get("/healthz")).headers


def test_the_page_is_small() -> None:
    files = [file.read_bytes() for file in WEB.iterdir() if not file.name.startswith("docs.")]
    assert sum(len(gzip.compress(file)) for file in files) <= 32 * 1024
