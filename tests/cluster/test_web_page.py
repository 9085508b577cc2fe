"""The web page in a real browser, against the real cluster."""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from backupexport_contract.readable import readable_duration, readable_size
from backupexport_contract.restore_commands import DumpFile, restore_command
from browser import Watched, chromium, watched_page
from held_project import HeldProject
from installation import LARGE, SMALL, Installation
from playground.rest import Api
from playground.targets import export_manifest, make_target
from playground.tools import apply, kubectl, wait_for
from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize, expect
from printed_commands import CAUTION
from words import CONTENTS, DURATIONS, SIZES

pytestmark = pytest.mark.cluster

DESKTOP = ViewportSize(width=1280, height=720)
PHONE = ViewportSize(width=390, height=844)
NARROWEST = ViewportSize(width=320, height=640)
# In milliseconds, for what a pod has to be started for.
PATIENT = 240_000
# Little processor time, so that an export of the large database goes on while somebody looks.
SLOW = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "100m", "memory": "1Gi"}}

# Every text's contrast with what is behind it, as WCAG 2.2 counts it.
FAINT_TEXTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    if (node.closest("[aria-disabled=true], .off-screen, noscript")) continue;
    const pair = [luminance(rgba(getComputedStyle(node).color)), luminance(behind(node))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push([walker.currentNode.data.trim(), ratio]);
  }
  return found;
}"""

UNNAMED_OR_TINY = """() => [...document.querySelectorAll("a, button, input, select, summary")]
  .filter((node) => node.checkVisibility() && !node.closest(".skip"))
  .filter((node) => {
    const { width, height } = node.getBoundingClientRect();
    const name = node.labels?.[0]?.textContent || node.ariaLabel || node.textContent;
    return width < 24 || height < 24 || !name.trim();
  })
  .map((node) => node.outerHTML)"""


@pytest.fixture(scope="module")
def browser(installation: Installation) -> Iterator[Browser]:
    with chromium(installation.url) as browser:
        yield browser


OpenPage = Callable[..., Watched]


@pytest.fixture
def open_page(browser: Browser, installation: Installation) -> Iterator[OpenPage]:
    """Opens the page; afterwards, nothing was asked of others and the browser had no complaint."""
    opened = []

    def open_one(path: str = "/", **options: Any) -> Watched:
        opening = watched_page(browser, installation.url, **options)
        watched = opening.__enter__()
        opened.append((opening, watched))
        watched.page.goto(path)
        if path == "/" and options.get("java_script_enabled", True):
            # As long as the page itself tries.
            sign_in = watched.page.get_by_role("button", name="Sign in")
            expect(sign_in).to_be_enabled()
        return watched

    yield open_one
    for opening, watched in opened:
        opening.__exit__(None, None, None)
        assert watched.asked_elsewhere() == []
        assert watched.complaints == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page().page


@pytest.fixture
def token(installation: Installation) -> str:
    """A token for every project, of a subject with rate limits of its own."""
    return installation.token()


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(signed_in(page)).to_be_visible()


def signed_in(page: Page) -> Locator:
    return page.get_by_role("banner").get_by_text("Signed in as")


def form_of(page: Page) -> Locator:
    return page.get_by_role("region", name="New export")


def start_export(page: Page, project: str, **fields: str) -> None:
    form_of(page).get_by_label("Project").fill(project)
    for label, value in fields.items():
        form_of(page).get_by_label(label).fill(value)
    page.get_by_role("button", name="Start the export").click()


def accepted_job(page: Page) -> str:
    """The id of the job that the form has just started."""
    link = form_of(page).get_by_role("link", name="Show the job")
    expect(link).to_be_visible()
    return (link.get_attribute("href") or "").rpartition("/")[2]


def row_of(page: Page, job_id: str) -> Locator:
    return page.locator("tbody", has=page.locator(f"#job-{job_id}"))


def test_a_token_that_is_not_good_is_refused_in_the_servers_words(
    page: Page, installation: Installation
) -> None:
    for bad, sentence in {
        "": "Paste a token first.",
        "two words": "This is no token: paste it again.",
        "not-a-token": "The token was refused: it is malformed or its signature does not match.",
    }.items():
        page.get_by_label("Token").fill(bad)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text(sentence)
        expect(page.get_by_label("Token")).to_be_focused()
    expect(signed_in(page)).to_be_hidden()
    sign_in(page, installation.token())


def test_the_main_story_with_nothing_but_a_keyboard(
    open_page: OpenPage, installation: Installation, token: str
) -> None:
    watched = open_page()
    page, keyboard = watched.page, watched.page.keyboard
    page.evaluate("window.neverReloaded = true")
    # In the token's field from the start.
    expect(page.get_by_label("Token")).to_be_focused()
    expect(page.get_by_role("button", name="Sign in")).to_be_enabled()
    keyboard.insert_text(token)
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Exports", exact=True)).to_be_focused()
    for text in (SMALL, None, None, "by/hand"):
        keyboard.press("Tab")
        if text:
            keyboard.insert_text(text)
    keyboard.press("Enter")
    job_id = accepted_job(page)
    expect(page.get_by_role("status")).to_contain_text(f"Accepted. Export of {SMALL}.")

    row = row_of(page, job_id)
    expect(row).to_contain_text("Completed", timeout=PATIENT)
    expect(page.get_by_role("status")).to_contain_text(f"Export of {SMALL}: completed.")
    row.get_by_text("Details").focus()
    keyboard.press("Enter")
    job = installation.everything.job(job_id)
    artifact = job["artifact"]
    for fact in ("path", "sha256", "server_version", "dump_version"):
        expect(row).to_contain_text(artifact[fact])
    assert artifact["path"].startswith(f"{SMALL}/by/hand/")
    file = artifact["path"].rpartition("/")[2]
    expect(row).to_contain_text(restore_command(DumpFile(file, "sql", "zstd")))
    expect(row).to_contain_text(CAUTION)
    expect(row.locator("time").first).to_have_attribute("title", job["created_at"])

    # Looked at once more, it has been left as it was.
    looks = watched.asked_for("/api/jobs")
    page.evaluate("dispatchEvent(new Event('online'))")
    wait_for(lambda: page.title() and watched.asked_for("/api/jobs") > looks, "another look", 60)
    expect(row.get_by_text("Details")).to_be_focused()
    expect(row.get_by_text(artifact["sha256"], exact=True)).to_be_visible()

    row.get_by_role("link", name=SMALL).focus()
    keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/#/jobs/{job_id}$"))
    expect(page.get_by_role("heading", name="Job", exact=True)).to_be_focused()
    expect(page.locator("#job").get_by_text(artifact["sha256"], exact=True)).to_be_visible()
    assert page.evaluate("window.neverReloaded")


def test_what_goes_in_is_chosen(page: Page, installation: Installation, token: str) -> None:
    sign_in(page, token)
    form = form_of(page)
    tables = form.get_by_label("Not tables")
    form.get_by_text("Choose what goes in").click()
    form.get_by_label("Format").select_option("custom")
    form.get_by_label("Contents").select_option("schema")
    form.get_by_label("Owners of the objects").uncheck()
    # A tab is a control character.
    tables.fill("good\nb\tad")
    form.get_by_text("Choose what goes in").click()
    start_export(page, SMALL)
    expect(tables).to_have_attribute("aria-invalid", "true")
    expect(tables).to_be_focused()
    expect(form.get_by_text("Must not contain control characters")).to_be_visible()
    tables.fill("  no.such\n\nother*  \n")
    start_export(page, SMALL)
    job_id = accepted_job(page)
    row = row_of(page, job_id)
    expect(row).to_contain_text("Completed", timeout=PATIENT)
    row.get_by_text("Details").click()
    chosen = "Definitions only; not tables no.such, other*; no owners"
    expect(row.get_by_text(chosen, exact=True)).to_be_visible()
    expect(row).to_contain_text("pg_restore --no-owner --single-transaction -d DATABASE ")
    job = installation.everything.job(job_id)
    assert (job["format"], job["content"]) == ("custom", "schema")
    assert (job["owner"], job["privileges"]) == (False, True)
    assert job["exclude_tables"] == ["no.such", "other*"]
    expect(row).to_contain_text(f"Restore with{job['artifact']['restore_with']}")


def test_the_token_is_in_memory_only_and_a_reload_forgets_it(
    open_page: OpenPage, token: str
) -> None:
    watched = open_page()
    page = watched.page
    sign_in(page, token)
    expect(page.locator("#freshness")).to_contain_text("Live.")
    left_behind = page.evaluate(
        """async () => JSON.stringify([
          { ...localStorage }, { ...sessionStorage }, document.cookie, location.href, name,
          history.state, (await indexedDB.databases()), (await caches.keys()),
          document.documentElement.outerHTML,
          [...document.querySelectorAll("input")].map((field) => field.value),
        ])"""
    )
    assert token not in left_behind
    assert token.split(".")[2] not in left_behind
    assert page.context.cookies() == []
    assert not [url for url in watched.requests if token in url]

    page.reload()
    expect(page.get_by_label("Token")).to_be_empty()
    expect(signed_in(page)).to_be_hidden()
    sign_in(page, token)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    assert page.locator("tbody").count() == 0


def test_a_failure_says_why_in_words(page: Page, installation: Installation, token: str) -> None:
    installation.server.psql("CREATE ROLE page_nobody LOGIN PASSWORD 'page-nobody'")
    connection = {
        "host": installation.server.host,
        "port": "5432",
        "username": "page_nobody",
        "password": "page-nobody",
    }
    make_target(
        installation.namespace, "page-no-database", connection,
        connection={"database": "nowhere_to_be_found", "sslmode": "disable"},
    )  # fmt: skip
    sign_in(page, token)
    start_export(page, "page-no-database")
    row = row_of(page, accepted_job(page))
    expect(row).to_contain_text("Failed", timeout=PATIENT)
    expect(row.get_by_text("Database not found.")).to_be_visible()
    expect(row.get_by_text("nowhere_to_be_found")).to_be_visible()
    # It has not begun to dump.
    expect(row).not_to_contain_text("progress")
    expect(row.locator("progress")).to_be_hidden()


def test_what_the_server_refuses_is_told_next_to_its_field(page: Page, token: str) -> None:
    sign_in(page, token)
    form = form_of(page)
    start_export(page, SMALL, **{"Directory": "/absolute", "E-mail": "nobody"})
    for label, message in {
        "Directory": "Must be relative: drop the leading /",
        "E-mail": "Must be one e-mail address such as ops@example.com",
    }.items():
        field = form.get_by_label(label)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(re.compile(re.escape(message)))
    expect(form.get_by_label("Directory")).to_be_focused()

    start_export(page, "nobody-knows-it", **{"Directory": "", "E-mail": ""})
    expect(form.get_by_label("Project")).to_have_accessible_description(
        "No such project: an ExportTarget with this projectId must exist."
    )
    start_export(page, "")
    expect(form.get_by_label("Project")).to_have_accessible_description("Is required")
    expect(form.get_by_label("Directory")).not_to_have_attribute("aria-invalid", "true")


def test_cancelling_asks_first_and_shows_the_end(
    page: Page, installation: Installation, connection: dict[str, str], token: str
) -> None:
    project = "page-slow"
    make_target(installation.namespace, project, {**connection, "database": LARGE}, resources=SLOW)
    sign_in(page, token)
    start_export(page, project)
    job_id = accepted_job(page)
    row = row_of(page, job_id)
    expect(row).to_contain_text("Running", timeout=PATIENT)
    expect(row).to_contain_text(re.compile(r"\d+ %, .* of about .*[MG]iB"), timeout=PATIENT)
    bar = row.get_by_role("progressbar", name=project)
    assert 0 <= float(bar.evaluate("(bar) => bar.value")) < 100

    cancel = row.get_by_role("button", name=f"Cancel {project}")
    cancel.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=f"Cancel the export of {project}?")
    expect(dialog.get_by_role("button", name="Keep it running")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(cancel).to_be_focused()
    assert installation.everything.job(job_id)["status"] == "running"

    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row).to_contain_text("Cancelling…")
    expect(row).to_contain_text("Cancelled", timeout=PATIENT)
    expect(cancel).to_be_hidden()
    expect(row.get_by_role("link", name=project)).to_be_focused()
    assert installation.everything.job(job_id)["status"] == "cancelled"


def test_pressing_again_after_a_broken_connection_makes_no_second_job(
    page: Page, installation: Installation, token: str
) -> None:
    sign_in(page, token)

    def lose_the_answer(route: Route) -> None:
        assert route.fetch().status == 202
        route.abort()

    page.route("**/api/backup/export", lose_the_answer, times=1)
    start_export(page, SMALL, Directory="twice")
    expect(form_of(page)).to_contain_text("Press the button again: that never makes a second one.")
    page.get_by_role("button", name="Start the export").click()
    expect(form_of(page)).to_contain_text("That export was already accepted.")
    listed = Api(installation.url, token).call("GET", f"/api/jobs?project_id={SMALL}").body["data"]
    assert len([job for job in listed if job["storage_path"] == "twice"]) == 1


def test_too_many_requests_are_waited_for(page: Page, token: str) -> None:
    sign_in(page, token)
    body = json.dumps({"status": 429, "code": "rate_limited", "detail": "Too many requests."})
    page.route(
        "**/api/backup/export",
        lambda route: route.fulfill(
            status=429,
            body=body,
            headers={"Retry-After": "5", "Content-Type": "application/problem+json"},
        ),
        times=1,
    )
    start_export(page, "nobody-knows-it")
    expect(page.get_by_role("button", name=re.compile(r"Wait [1-5] s"))).to_be_visible()
    expect(page.get_by_role("button", name="Start the export")).to_be_visible()
    page.get_by_role("button", name="Start the export").click()
    expect(form_of(page)).to_contain_text("No such project")


def test_a_token_for_another_project_sees_nothing(page: Page, installation: Installation) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    sign_in(page, installation.token("theirs", "mine"))
    expect(page.get_by_text("No exports yet.")).to_be_visible()
    project = form_of(page).get_by_label("Project")
    assert project.locator("option").all_text_contents() == ["mine", "theirs"]
    page.evaluate("(id) => { location.hash = `#/jobs/${id}`; }", job_id)
    expect(page.locator("#job-freshness")).to_contain_text("No such job.")
    assert SMALL not in page.get_by_role("main").inner_text()


def test_the_claim_that_lists_the_projects_is_a_setting(page: Page) -> None:
    def served(route: Route) -> None:
        answer = route.fetch()
        told = '<meta name="projects-claim" content="projects">'
        assert told in answer.text()
        body = answer.text().replace(told, told.replace('"projects"', '"grants"'))
        route.fulfill(response=answer, body=body)

    page.route(lambda url: urlsplit(url).path == "/", served)
    page.route("**/api/jobs?*", lambda route: route.fulfill(json={"data": [], "next_cursor": None}))
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_enabled()
    claims = {"sub": "a", "projects": ["others"], "grants": ["mine", "theirs"]}
    sign_in(page, jwt.encode(claims, "no secret of anybody's, long enough", "HS256"))
    project = form_of(page).get_by_label("Project")
    assert project.locator("option").all_text_contents() == ["mine", "theirs"]


def test_text_is_never_taken_for_markup(page: Page, installation: Installation) -> None:
    hostile = "<img src=x onerror=alert(1)><b>bold</b>"
    token = installation.token(subject=hostile)
    job_id = Api(installation.url, token).export(project_id=SMALL).body["data"]["job_id"]
    sign_in(page, token)
    expect(signed_in(page)).to_contain_text(f"Signed in as {hostile}")
    page.evaluate("(id) => { location.hash = `#/jobs/${id}`; }", job_id)
    expect(page.locator("#job").get_by_text(hostile, exact=True)).to_be_visible()
    assert page.locator("b, img[src=x]").count() == 0


def test_a_server_out_of_reach_is_told_and_found_again(
    open_page: OpenPage, installation: Installation, token: str
) -> None:
    installation.caller().export(project_id=SMALL)
    watched = open_page()
    page = watched.page
    sign_in(page, token)
    expect(page.locator("#freshness")).to_contain_text("Live.")
    shown = page.locator("tbody").count()
    assert shown > 0
    page.context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('online'))")
    freshness = page.locator("#freshness")
    expect(freshness).to_contain_text(re.compile(r"Not reached since .*\. Trying again at .*\."))
    expect(page.get_by_role("status")).to_contain_text("Not reached since")
    assert page.locator("tbody").count() == shown
    page.context.set_offline(False)
    expect(freshness).to_contain_text("Live.")
    expect(page.get_by_role("status")).to_contain_text("The server answers again.")


def test_nobody_is_asked_while_nobody_looks(open_page: OpenPage, token: str) -> None:
    watched = open_page()
    page = watched.page
    page.clock.install()
    answered: list[str] = []

    def answer(route: Route) -> None:
        route.fulfill(json={"data": [], "next_cursor": None})
        answered.append(route.request.url)

    page.route("**/api/jobs?*", answer)
    sign_in(page, token)

    def looks_within(seconds: int) -> int:
        before = watched.asked_for("/api/jobs")
        for _ in range(seconds):
            page.clock.run_for(1000)
            wait_for(
                lambda: page.title() and len(answered) == watched.asked_for("/api/jobs"),
                "an answer to each look",
                60,
            )
        return watched.asked_for("/api/jobs") - before

    expect(page.locator("#freshness")).to_contain_text("Live.")
    # Else the machine's own time passes for the page, too, and the more the slower it is.
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 2)
    assert 2 <= looks_within(40) <= 4
    become(page, "hidden")
    assert looks_within(120) == 0
    before = watched.asked_for("/api/jobs")
    page.clock.resume()
    become(page, "visible")
    wait_for(lambda: page.title() and watched.asked_for("/api/jobs") > before, "a look", 60)


def become(page: Page, state: str) -> None:
    """Have the page seen by somebody, or by nobody."""
    page.evaluate(
        """(value) => {
          Object.defineProperty(document, "visibilityState", { value, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


def show_job(page: Page, job_id: str) -> Locator:
    """Go to the page of one job."""
    page.evaluate("(id) => { location.hash = `#/jobs/${id}`; }", job_id)
    return page.locator("#job")


def events_of(job_id: str) -> str:
    return f"/api/jobs/{job_id}/events"


def stream_of(*events: str) -> dict[str, Any]:
    """An answer with these events, which ends as a connection does that is cut."""
    body = "".join(f"{event}\n\n" for event in ("retry: 100", *events))
    return {"status": 200, "content_type": "text/event-stream", "body": body}


def test_an_open_job_is_followed_by_its_events(
    open_page: OpenPage, installation: Installation, token: str
) -> None:
    watched = open_page()
    page = watched.page
    sign_in(page, token)
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    shown = show_job(page, job_id)
    expect(shown).to_contain_text("Completed", timeout=PATIENT)
    expect(page.get_by_role("status")).to_contain_text(f"Export of {SMALL}: completed.")
    expect(page.locator("#job-freshness")).to_contain_text("Live.")
    # Nobody has asked for the job itself.
    assert watched.asked_for(f"/api/jobs/{job_id}") == 0
    assert watched.asked_for(events_of(job_id)) >= 1


def test_where_no_stream_gets_through_the_job_is_polled(
    open_page: OpenPage, installation: Installation, held_project: HeldProject, token: str
) -> None:
    watched = open_page()
    page = watched.page
    page.route("**/events", lambda route: route.abort())
    sign_in(page, token)
    with held_project.locked():
        exported = installation.everything.export(project_id=held_project.name)
        job_id = exported.body["data"]["job_id"]
        show_job(page, job_id)
        wait_for(
            lambda: page.title() and watched.asked_for(f"/api/jobs/{job_id}") >= 2,
            "a second look",
            60,
        )
    expect(page.locator("#job")).to_contain_text("Completed", timeout=PATIENT)
    assert watched.asked_for(events_of(job_id)) == 1


@pytest.mark.parametrize("status", [404, 429, 503])
def test_a_stream_that_is_refused_is_no_failure(
    page: Page, installation: Installation, token: str, status: int
) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    page.route("**/events", lambda route: route.fulfill(status=status, body="no stream"))
    sign_in(page, token)
    expect(show_job(page, job_id)).to_contain_text("Completed", timeout=PATIENT)
    expect(page.locator("#job-freshness")).to_contain_text("Live.")


def test_a_stream_that_is_held_back_on_its_way_is_given_up(
    page: Page, installation: Installation, token: str
) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    held: list[Route] = []
    page.route("**/events", lambda route: held.append(route))  # noqa: PLW0108 - it looks inside
    sign_in(page, token)
    expect(show_job(page, job_id)).to_contain_text("Completed", timeout=PATIENT)
    assert len(held) == 1


def test_a_stream_that_was_cut_goes_on_where_it_was(
    open_page: OpenPage, installation: Installation, token: str
) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    job = installation.everything.finished(job_id)
    running = {**job, "status": "running", "artifact": None, "completed_at": None}
    watched = open_page()
    page = watched.page
    asked_after: list[str | None] = []

    def cut_twice(route: Route) -> None:
        asked_after.append(route.request.headers.get("last-event-id"))
        if len(asked_after) == 1:
            answer = stream_of(f"id: 1\ndata: {json.dumps(running)}")
            # In the middle of the second event.
            route.fulfill(**{**answer, "body": answer["body"] + 'id: 2\ndata: {"'})
        elif len(asked_after) == 2:
            route.fulfill(**stream_of())
        else:
            route.continue_()

    page.route("**/events", cut_twice)
    sign_in(page, token)
    expect(show_job(page, job_id)).to_contain_text("Completed", timeout=PATIENT)
    assert asked_after[:3] == [None, "1", "1"]
    assert watched.asked_for(f"/api/jobs/{job_id}") == 0


@pytest.mark.parametrize("nonsense", ['{"', '{"status": "running", "error": {}}'])
def test_events_that_make_no_sense_are_no_cut_and_the_job_is_polled(
    open_page: OpenPage, installation: Installation, token: str, nonsense: str
) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    installation.everything.finished(job_id)
    watched = open_page()
    page = watched.page
    page.route("**/events", lambda route: route.fulfill(**stream_of(f"data: {nonsense}")))
    sign_in(page, token)
    expect(show_job(page, job_id)).to_contain_text("Completed", timeout=PATIENT)
    assert watched.asked_for(f"/api/jobs/{job_id}") >= 1
    assert watched.asked_for(events_of(job_id)) == 1


def test_a_job_that_is_deleted_while_it_is_open_is_told(
    page: Page, installation: Installation, token: str
) -> None:
    job_id = str(uuid.uuid4())
    apply(export_manifest(installation.namespace, job_id, projectId="nobody-knows-it"))
    sign_in(page, token)
    shown = show_job(page, job_id)
    expect(shown).to_contain_text("nobody-knows-it", timeout=PATIENT)
    kubectl("-n", installation.namespace, "delete", "backupexport", job_id)
    expect(page.locator("#job-freshness")).to_contain_text("No such job.", timeout=PATIENT)


def test_no_stream_is_open_while_nobody_looks(
    open_page: OpenPage, installation: Installation, held_project: HeldProject, token: str
) -> None:
    with held_project.locked():
        exported = installation.everything.export(project_id=held_project.name)
        job_id = exported.body["data"]["job_id"]
        watched = open_page()
        page = watched.page
        sign_in(page, token)
        expect(show_job(page, job_id)).to_contain_text("Running", timeout=PATIENT)
        become(page, "hidden")
        wait_for(
            lambda: page.title() and any(events_of(job_id) in each for each in watched.broken),
            "the end of the stream",
            60,
        )
        before = watched.asked_for(events_of(job_id))
    installation.everything.finished(job_id)
    assert watched.asked_for(events_of(job_id)) == before
    become(page, "visible")
    expect(page.locator("#job")).to_contain_text("Completed")


@pytest.mark.parametrize("public_url", ["", "https://exports.example.com/elsewhere"])
def test_a_file_is_downloaded_by_a_link_from_where_the_page_is(
    page: Page, installation: Installation, token: str, public_url: str
) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    artifact = installation.everything.finished(job_id)["artifact"]
    asked: list[Any] = []

    def link(route: Route) -> None:
        asked.append((route.request.post_data_json, route.request.headers["authorization"]))
        answer = route.fetch()
        body = answer.json()
        body["data"]["url"] = public_url + body["data"]["url"]
        route.fulfill(response=answer, json=body)

    page.route(f"**/api/jobs/{job_id}/link", link)
    sign_in(page, token)
    row = row_of(page, job_id)
    with page.expect_download() as download:
        row.get_by_role("button", name=f"Download {SMALL}").click()
    assert download.value.url.startswith(f"{installation.url}/api/jobs/{job_id}/download?")
    assert download.value.suggested_filename == artifact["path"].rpartition("/")[2]
    content = download.value.path().read_bytes()
    assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    assert asked == [({"lifetime_seconds": 60}, f"Bearer {token}")]
    expect(page.get_by_role("status")).to_contain_text(f"The download of {SMALL} begins.")
    # The page is where it was.
    expect(row.get_by_role("button", name=f"Download {SMALL}")).to_be_focused()


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (501, "Downloads are off here: the volume can't be shared between nodes."),
        (410, "The file was removed when its time was over."),
        (409, "The job has not finished."),
    ],
)
def test_a_file_that_can_t_be_had_is_told_in_words(
    page: Page, installation: Installation, token: str, status: int, detail: str
) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    installation.everything.finished(job_id)
    body = json.dumps({"status": status, "code": "no_file", "detail": detail})
    page.route(
        "**/link",
        lambda route: route.fulfill(
            status=status, body=body, content_type="application/problem+json"
        ),
    )
    sign_in(page, token)
    row = row_of(page, job_id)
    row.get_by_role("button", name=f"Download {SMALL}").click()
    expect(row.get_by_text(detail)).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text(detail)


def test_only_a_job_that_has_a_file_can_be_downloaded(
    page: Page, held_project: HeldProject, token: str
) -> None:
    sign_in(page, token)
    with held_project.locked():
        start_export(page, held_project.name)
        row = row_of(page, accepted_job(page))
        expect(row).to_contain_text("Running", timeout=PATIENT)
        expect(row.get_by_role("button", name=re.compile("Download"))).to_be_hidden()
        row.get_by_role("button", name=f"Cancel {held_project.name}").click()
        page.get_by_role("button", name="Cancel the export").click()
        expect(row).to_contain_text("Cancelled", timeout=PATIENT)
    expect(row.get_by_role("button", name=re.compile("Download"))).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_became_of_deliveries_is_told(
    open_page: OpenPage, installation: Installation, token: str, scheme: str
) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    installation.everything.finished(job_id)
    page = open_page(color_scheme=scheme, viewport=NARROWEST).page
    refused = "The mail server refused the address."

    def with_deliveries(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for job in body["data"]:
            failed = {"status": "failed", "reason": "Refused", "message": refused, "at": None}
            job["notification"] = failed
            sent = {"status": "sent", "reason": "Succeeded", "message": "", "at": job["created_at"]}
            job["deliveries"] = [{**sent, "kind": "telegram"}]
        route.fulfill(response=answer, json=body)

    page.route("**/api/jobs?*", with_deliveries)
    sign_in(page, token)
    row = row_of(page, job_id)
    # What failed is told at once, the rest on request.
    expect(row.locator(".unsent")).to_be_visible()
    expect(row.locator(".unsent")).to_contain_text(f"E-mail: not sent. Refused. {refused}")
    expect(row.locator(".unsent")).not_to_contain_text("Telegram")
    row.get_by_text("Details").click()
    told = row.locator(".deliveries li")
    expect(told.nth(0)).to_contain_text(f"E-mail: not sent. Refused. {refused}")
    expect(told.nth(1)).to_contain_text("Telegram: sent, ")
    assert page.evaluate(FAINT_TEXTS) == []
    assert not page.evaluate("() => document.documentElement.scrollWidth > innerWidth")
    page.unroute("**/api/jobs?*")
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(row.locator(".deliveries")).to_be_hidden()
    expect(row.locator(".unsent")).to_be_hidden()


def test_older_jobs_come_on_request_and_filters_narrow_the_list(
    page: Page, installation: Installation
) -> None:
    names = [f"page-{number:02}" for number in range(30)]
    # Without a target they fail at once: cheap jobs to list.
    apply(*(export_manifest(installation.namespace, name, projectId="paging") for name in names))
    token = installation.token("paging")
    sign_in(page, token)
    rows = page.locator("tbody")
    expect(rows).to_have_count(25)
    page.get_by_role("button", name="Show older jobs").click()
    expect(rows).to_have_count(30)
    expect(rows.nth(25).get_by_role("link", name="paging")).to_be_focused()
    expect(page.get_by_role("button", name="Show older jobs")).to_be_hidden()
    expect(rows.filter(has_text="Target not found.")).to_have_count(30, timeout=PATIENT)
    # One line for each, and no bar for a dump that has never begun.
    assert all(row.evaluate("(row) => row.offsetHeight") < 64 for row in rows.all())
    expect(rows.locator("progress").filter(visible=True)).to_have_count(0)
    expect(rows.filter(has_text="progress")).to_have_count(0)
    page.get_by_label("Status").select_option("Completed")
    expect(page.get_by_text("No job matches these filters.")).to_be_visible()
    page.get_by_label("Status").select_option("Failed")
    expect(rows).to_have_count(25)


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", PHONE), ("dark", PHONE), ("dark", DESKTOP)]
)
def test_every_text_is_legible_and_every_control_has_a_name_and_size(
    open_page: OpenPage,
    installation: Installation,
    token: str,
    scheme: str,
    viewport: ViewportSize,
) -> None:
    job_id = installation.caller().export(project_id=SMALL).body["data"]["job_id"]
    page = open_page(color_scheme=scheme, viewport=viewport).page
    assert page.evaluate(FAINT_TEXTS) == []

    def with_progress(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for job in body["data"]:
            done = {"percent": 42, "dumped_bytes": 42_000, "estimated_bytes": 100_000}
            job |= {"status": "running", "artifact": None, "progress": done}
        route.fulfill(response=answer, json=body)

    page.route("**/api/jobs?*", with_progress)
    sign_in(page, token)
    start_export(page, "nobody-knows-it")
    expect(form_of(page)).to_contain_text("No such project")
    row_of(page, job_id).get_by_text("Details").click()
    assert page.evaluate(FAINT_TEXTS) == []
    assert page.evaluate(UNNAMED_OR_TINY) == []
    snapshot = page.locator("body").aria_snapshot()
    for part in ("banner", "navigation", "main", "search", "status", "progressbar"):
        assert f"- {part}" in snapshot, snapshot
    # Whatever the width: a table whose cells have names.
    assert '- table "Jobs"' in snapshot, snapshot
    assert "- columnheader " in snapshot
    assert f'- rowheader "{SMALL}"' in snapshot
    assert re.findall(r'heading "(\w[\w ]*)" \[level=[12]\]', snapshot) == [
        "Exports",
        "New export",
        "Jobs",
    ]


def test_the_narrowest_screen_needs_no_sideways_scrolling(
    open_page: OpenPage, installation: Installation, token: str
) -> None:
    caller = installation.caller()
    job_id = caller.export(project_id=SMALL).body["data"]["job_id"]
    caller.finished(job_id)
    page = open_page(viewport=NARROWEST).page
    too_wide = "() => document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(too_wide)
    sign_in(page, token)
    row_of(page, job_id).get_by_text("Details").click()
    assert not page.evaluate(too_wide)
    page.evaluate("(id) => { location.hash = `#/jobs/${id}`; }", job_id)
    expect(page.locator("#job").get_by_text("Check and restore")).to_be_visible()
    assert not page.evaluate(too_wide)


@pytest.mark.parametrize("times", [1, 4])
def test_a_page_that_came_in_part_is_loaded_again(open_page: OpenPage, times: int) -> None:
    page = open_page("/docs").page
    page.route("**/assets/format.js", lambda route: route.abort(), times=times)
    page.goto("/")
    expect(page.get_by_role("button", name="Sign in")).to_be_enabled(timeout=PATIENT)


def test_a_page_that_comes_in_part_only_says_so(open_page: OpenPage) -> None:
    watched = open_page("/docs")
    page = watched.page
    page.route("**/assets/format.js", lambda route: route.abort())
    page.goto("/")
    told = "A part of this page did not arrive. Reload it."
    expect(page.get_by_role("alert")).to_have_text(told, timeout=PATIENT)
    expect(page.get_by_role("button", name="Sign in")).to_be_disabled()
    assert "Failed to fetch dynamically imported module" in watched.complaints.pop()


EARLY = "['pending', 'running', 'failed', 'cancelled'].map((status) => ({status, progress: null}))"
PROGRESS = "{percent: 42, dumped_bytes: 1024, estimated_bytes: 3072}"


@pytest.mark.parametrize(
    ("module", "expression", "expected"),
    [
        ("format", "[-5, 59999, 60000, 7199999, 7200000, 86400000, 950400000].map(m.age)",
         ["just now", "just now", "1 min ago", "1 h ago", "2 h ago", "1 d ago", "11 d ago"]),
        ("format", f"{EARLY}.map(m.progressWords)", ["Not started yet", "No progress yet", "", ""]),
        ("format", f"{EARLY}.map(m.progressValue)", [None, 0, None, None]),
        ("format", "['running', 'failed', 'cancelled'].map((status) =>"
         f" m.progressWords({{status, progress: {PROGRESS}}}))",
         ["42 %, 1.0 KiB of about 3.0 KiB"] * 3),
        ("format", f"m.progressValue({{status: 'failed', progress: {PROGRESS}}})", 42),
        ("format", f"m.progressValue({{artifact: {{}}, progress: {PROGRESS}}})", None),
        ("format", "['AuthenticationFailed', 'Internal'].map(m.reasonWords)",
         ["Authentication failed", "Internal"]),
        ("format", "[null, 0, 7, 75].map((left) => m.progressWords({status: 'running', progress:"
         " {percent: 1, dumped_bytes: 0, estimated_bytes: 9, seconds_left: left}}))",
         ["1 %, 0 B of about 9 B", "1 %, 0 B of about 9 B",
          "1 %, 0 B of about 9 B, about 7 s left", "1 %, 0 B of about 9 B, about 1 min 15 s left"]),
        ("format", f"{json.dumps([chosen for chosen, _ in CONTENTS])}.map(m.contentWords)",
         [words for _, words in CONTENTS]),
        ("format", "[[], [{}], [{}, {}]].map(m.warnedWords)",
         ["", "1 warning: see the details.", "2 warnings: see the details."]),
        ("format", "[{kind: 'e-mail', status: 'pending', message: 'Next try at 9.'},"
         " {kind: 'telegram', status: 'failed', reason: 'NotConfigured', message: 'Set it.'},"
         " {kind: 'pigeon', status: 'sent', at: null}].map(m.deliveryWords)",
         ["E-mail: on its way. Next try at 9.", "Telegram: not sent. Not configured. Set it.",
          "Pigeon: sent"]),
        ("format", "[{}, {notification: null, deliveries: []}].map(m.deliveriesOf)", [[], []]),
        ("job_stream", "((p) => [...['id: 7\\nda', 'ta:a\\ndata: b\\n',"
         " '\\n:\\n\\nevent: gone\\nda', 'ta: c\\nretry: 5\\n\\n'].map((text) => p.feed(text)),"
         " p.lastEventId, p.retryMilliseconds])(new m.EventParser())",
         [[], [], [{"type": "message", "data": "a\nb"}], [{"type": "gone", "data": "c"}], "7", 5]),
        ("job_stream", "new m.EventParser()"
         ".feed('data: a\\u2028b:\\u2029c\\ndata:  d\\ndata\\n\\n')",
         [{"type": "message", "data": "a\u2028b:\u2029c\n d\n"}]),
        ("session", "['', '  Bearer a.b ', 'a b', 'ä'].map(m.tokenIn)", [None, "a.b", None, None]),
        ("session", "['x', 'x.bnVsbA.y', 'x.eyJzdWIiOiLDpCJ9.y'].map(m.claimsOf)",
         [{}, {}, {"sub": "ä"}]),
        ("session", "[['b', 'a'], ['a', '*'], [], 'a', [1]].map((p) => m.projectsOf({g: p}, 'g'))",
         [["a", "b"], None, None, None, None]),
        ("poller", "[1, 2, 3, 9].map((n) => m.retrySeconds(n, 0, 1))", [2, 4, 8, 60]),
        ("poller", "[m.retrySeconds(1, 30, 0), m.retrySeconds(9, 5, 0)]", [30, 45]),
        ("api", "['5', null, '', '-1', 'Wed, 21 Oct 2015 07:28:00 GMT'].map(m.retryAfterSeconds)",
         [5, None, None, None, None]),
        ("poller", "[{unfinished: true, requests: 1}, {unfinished: true, requests: 5},"
         " {unfinished: false, requests: 1}].map(m.pauseSeconds)", [2, 10, 12]),
        ("export_form", "[202, 400, 404, 401, 429, 503, 0].map(m.isSettledBy)",
         [True, True, True, False, False, False, False]),
        ("export_form", "((first) => [m.attemptFor(first, 'a') === first,"
         " m.attemptFor(first, 'b').key === first.key])(m.attemptFor(null, 'a'))", [True, False]),
    ],
)  # fmt: skip
def test_what_the_page_reckons_is_right(
    page: Page, module: str, expression: str, expected: Any
) -> None:
    assert reckoned(page, module, expression) == expected


def reckoned(page: Page, module: str, expression: str) -> Any:
    """What `expression` is in the page, where `m` is one of its modules."""
    # In a browser, because Node is nothing a newcomer has to have.
    code = f"async () => {{ const m = await import('/assets/{module}.js'); return {expression}; }}"
    return page.evaluate(code)


def test_page_mails_and_kubectl_write_numbers_alike(page: Page) -> None:
    # As far as JavaScript's whole numbers go.
    sizes = [*SIZES, *(1024**power * n // 40 for power in range(1, 5) for n in range(1, 41000, 97))]
    words = reckoned(page, "format", f"{sizes}.map(m.bytes)")
    assert words == [readable_size(size) for size in sizes]
    assert words[: len(SIZES)] == list(SIZES.values())
    times = reckoned(page, "format", f"{[*DURATIONS]}.map((seconds) => m.duration(seconds * 1000))")
    assert times == [readable_duration(seconds) for seconds in DURATIONS]


@pytest.mark.parametrize(
    ("known", "fresh", "has_more", "expected", "reaches_end"),
    [
        ("", "c b a", False, "c b a", True),
        ("b a", "c b", True, "c b a", False),
        # Gone from the middle, and gone because there is no more to list.
        ("c b a", "c a", True, "c a", True),
        ("c b a", "c b", False, "c b", True),
        # Of one moment: the server lists them by id, from the end.
        ("c2 c1 b", "c3 c2", True, "c3 c2 c1 b", False),
        ("c3 c2 c1", "c3 c1", True, "c3 c1", True),
        ("b a", "", False, "", True),
    ],
)
def test_a_fresh_list_and_a_longer_one_become_one(
    page: Page, known: str, fresh: str, has_more: bool, expected: str, reaches_end: bool
) -> None:
    code = """async ([known, fresh, hasMore]) => {
      const { merged } = await import("/assets/jobs.js");
      const jobs = (text) =>
        text.split(" ").filter(Boolean).map((id) => ({ job_id: id, created_at: id[0] }));
      const { jobs: all, reachesEnd } = merged(jobs(known), jobs(fresh), hasMore);
      return [all.map((job) => job.job_id).join(" "), reachesEnd];
    }"""
    assert page.evaluate(code, [known, fresh, has_more]) == [expected, reaches_end]


def test_without_javascript_there_is_a_way_on(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False).page
    expect(page.locator("noscript > p")).to_be_visible()
    expect(page.locator("noscript > p")).to_contain_text("This page needs JavaScript.")
    expect(page.locator("noscript a[href=docs]")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_hidden()


def test_the_docs_show_every_operation_from_our_own_host(open_page: OpenPage) -> None:
    page = open_page("/docs").page
    for operation in (
        "post /api/backup/export",
        "get /api/jobs",
        "get /api/jobs/{job_id}",
        "get /api/jobs/{job_id}/events",
        "post /api/jobs/{job_id}/cancel",
    ):
        expect(page.get_by_role("button", name=operation, exact=True)).to_be_visible()
    page.get_by_role("button", name="post /api/backup/export", exact=True).click()
    expect(page.get_by_text("Idempotency-Key").first).to_be_visible()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.get_by_text("token_missing").first).to_be_visible()
