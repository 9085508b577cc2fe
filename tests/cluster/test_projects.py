"""The projects that a token is good for, on a real cluster: over REST, and as the page's choice."""

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import chromium, watched_page
from installation import LARGE, SMALL, Installation
from playground.rest import Api
from playground.targets import export_manifest, make_target, target_name
from playground.tools import apply, kubectl, wait_for
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.cluster

_SECONDS = 60
_CONFIGURATION = "/api/client-configuration"


@pytest.fixture
def project(installation: Installation, connection: dict[str, str]) -> Iterator[str]:
    """A project of the test's own, without any export."""
    project_id = f"Listed-{secrets.token_hex(4)}"
    make_target(installation.namespace, project_id, connection)
    yield project_id
    kubectl(
        "-n", installation.namespace, "delete", "exporttarget", target_name(project_id),
        "--ignore-not-found",
    )  # fmt: skip


@pytest.fixture
def page(installation: Installation) -> Iterator[Page]:
    with (
        chromium(installation.url) as browser,
        watched_page(browser, installation.url) as watched,
    ):
        watched.page.goto("/")
        sign_in = watched.page.get_by_role("button", name="Sign in")
        expect(sign_in).to_be_enabled(timeout=20_000)
        yield watched.page
        assert watched.asked_elsewhere() == []
        assert watched.complaints == []


def listed(caller: Api) -> dict[str, dict[str, Any]]:
    """All projects of the caller by id, read in pages of two."""
    found: dict[str, dict[str, Any]] = {}
    after = ""
    while True:
        answer = caller.call("GET", f"/api/projects?limit=2{after}")
        assert answer.status == 200, answer.body
        found |= {project["project_id"]: project for project in answer.body["data"]}
        if answer.body["next_cursor"] is None:
            assert list(found) == sorted(found)
            return found
        assert len(answer.body["data"]) == 2
        after = f"&cursor={answer.body['next_cursor']}"


def until_newest(caller: Api, project_id: str, job_id: str | None) -> None:
    def is_newest() -> bool:
        newest = listed(caller)[project_id]["newest_job"] or {"job_id": None}
        return bool(newest["job_id"] == job_id)

    wait_for(is_newest, f"{job_id} as the newest job of {project_id}", _SECONDS)


def test_a_token_lists_its_projects_and_no_others(
    installation: Installation, api: Api, project: str
) -> None:
    wait_for(lambda: project in listed(api), f"{project} in the list", _SECONDS)
    assert {SMALL, LARGE, project} <= listed(api).keys()
    only = listed(installation.caller(project, SMALL, project.lower(), "nobody"))
    assert only.keys() == {project, SMALL}
    assert listed(installation.caller("nobody")) == {}


def test_the_newest_job_is_the_newest_there_is(
    installation: Installation, api: Api, project: str
) -> None:
    wait_for(lambda: project in listed(api), f"{project} in the list", _SECONDS)
    until_newest(api, project, None)
    jobs = [api.export(project_id=project).body["data"]["job_id"] for _ in range(2)]
    until_newest(api, project, jobs[1])
    assert api.finished(jobs[1])["status"] == "completed"
    wait_for(
        lambda: listed(api)[project]["newest_job"] == api.job(jobs[1]), "the same job", _SECONDS
    )
    for gone, left in ((jobs[1], jobs[0]), (jobs[0], None)):
        kubectl("-n", installation.namespace, "delete", "backupexport", gone)
        until_newest(api, project, left)


def test_what_its_target_says_of_a_project(
    installation: Installation, api: Api, project: str, connection: dict[str, str]
) -> None:
    wait_for(lambda: project in listed(api), f"{project} in the list", _SECONDS)
    told = {"project_id": project, "suspended": False, "encryption_required": False}
    assert listed(api)[project] == {**told, "newest_job": None}
    make_target(
        installation.namespace, project, connection, suspend=True, encryption={"required": True}
    )
    told |= {"suspended": True, "encryption_required": True}
    wait_for(
        lambda: listed(api)[project] == {**told, "newest_job": None}, f"what {project} is", _SECONDS
    )
    name = target_name(project)
    kubectl("-n", installation.namespace, "delete", "exporttarget", name)
    wait_for(lambda: project not in listed(api), f"{project} gone from the list", _SECONDS)


def test_of_two_targets_of_a_project_the_older_is_told(
    installation: Installation, api: Api, project: str
) -> None:
    # Kubernetes' times are whole seconds, and of one second the first by name serves.
    younger = f"{target_name(project)}-younger"
    target = {
        **export_manifest(installation.namespace, younger),
        "kind": "ExportTarget",
        "spec": {
            "projectId": project,
            "secretRef": {"name": target_name(project)},
            "suspend": True,
        },
    }
    wait_for(lambda: project in listed(api), f"{project} in the list", _SECONDS)
    apply(target)
    try:
        assert not listed(api)[project]["suspended"]
        kubectl("-n", installation.namespace, "delete", "exporttarget", target_name(project))
        wait_for(lambda: listed(api)[project]["suspended"], "the younger one's word", _SECONDS)
    finally:
        kubectl("-n", installation.namespace, "delete", "exporttarget", younger)


def test_what_a_client_reads_before_it_has_a_token(installation: Installation) -> None:
    with urllib.request.urlopen(installation.url + _CONFIGURATION, timeout=60) as response:
        told, headers = json.load(response)["data"], response.headers
    assert told["login"] is None
    assert told.keys() == {"login", "downloads", "version"}
    assert headers["Cache-Control"] == "public, max-age=300"
    known = urllib.request.Request(
        installation.url + _CONFIGURATION, headers={"If-None-Match": headers["ETag"]}
    )
    with pytest.raises(urllib.error.HTTPError) as again:
        urllib.request.urlopen(known, timeout=60)
    with again.value as answer:
        assert answer.code == 304


def test_form_and_filter_suggest_the_projects_and_take_any_other(
    page: Page, installation: Installation, project: str
) -> None:
    sign_in(page, installation.token())
    suggested = page.locator("datalist#projects option")
    expect(suggested.filter(has=page.locator(f"xpath=self::*[@value='{project}']"))).to_have_count(
        1
    )
    for region in ("New export", "Jobs"):
        field = page.get_by_role("region", name=region).get_by_label("Project", exact=True)
        assert field.get_attribute("list") == "projects"
    form = page.get_by_role("region", name="New export")
    form.get_by_label("Project", exact=True).fill("nobody-knows-it")
    page.get_by_role("button", name="Start the export").click()
    expect(form).to_contain_text("No such project")
    page.get_by_role("button", name="Sign out").click()
    expect(suggested).to_have_count(0)


def test_a_list_of_projects_that_never_comes_stands_in_nobodys_way(
    page: Page, installation: Installation
) -> None:
    page.route("**/api/projects?*", lambda route: route.fulfill(status=503, json={}))
    sign_in(page, installation.token())
    form = page.get_by_role("region", name="New export")
    form.get_by_label("Project", exact=True).fill(SMALL)
    page.get_by_role("button", name="Start the export").click()
    expect(form.get_by_role("link", name="Show the job")).to_be_visible()


def test_a_token_that_names_its_projects_asks_for_no_list(
    page: Page, installation: Installation
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    sign_in(page, installation.token(SMALL))
    expect(page.locator("#export-project option")).to_have_text([SMALL])
    expect(page.locator("#freshness")).not_to_be_empty()
    assert "/api/jobs" in asked
    assert "/api/projects" not in asked


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("banner").get_by_text("Signed in as")).to_be_visible()
