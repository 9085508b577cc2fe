"""An export that has ended reaches its owner, through a real mail server and a strict Bot API."""

import json
import random
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bot_api_pod import TOKEN, BotApiPod
from chaos_processes import kill_inside
from failing_exports import MODEST
from installation import LARGE, SMALL, Installation
from playground.mail_server import Heading, MailServer, Message
from playground.rest import Api
from playground.targets import export_manifest, make_target, read_export
from playground.tools import (
    NeverHappenedError,
    ToolError,
    apply,
    get,
    get_raw,
    kubectl,
    wait_for,
)

pytestmark = pytest.mark.cluster

OWNER = "owner.of.the.data@example.org"


@pytest.fixture(scope="module")
def mail(installation: Installation) -> Iterator[MailServer]:
    server = MailServer(installation.namespace)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def bot(installation: Installation) -> BotApiPod:
    server = BotApiPod(installation.namespace)
    server.start()
    return server


@pytest.fixture
def project() -> str:
    """A project of the test's own."""
    return f"delivered-{secrets.token_hex(3)}"


def by_mail(server: MailServer, **more: Any) -> dict[str, Any]:
    return {
        "email": {
            "host": server.host,
            "port": server.starttls_port,
            "from": "exports@example.com",
            "allowedDomains": ["example.org"],
            "caCertificates": server.authority,
            "secretRef": {"name": server.login_secret},
            **more,
        }
    }


def deliver(
    installation: Installation,
    project: str,
    connection: dict[str, str],
    deliveries: dict[str, Any],
    **spec: Any,
) -> None:
    """A target of the small database, whose exports are delivered so."""
    make_target(
        installation.namespace, project, connection, deliveries=deliveries, maxConcurrent=20,
        resources=MODEST, **spec,
    )  # fmt: skip


def request(api: Api, project: str, **more: Any) -> str:
    answer = api.export(project_id=project, **more)
    assert answer.status == 202, answer.body
    job_id: str = answer.body["data"]["job_id"]
    return job_id


def settled(api: Api, job_id: str, seconds: float = 300) -> dict[str, Any]:
    """The job once it has ended and no delivery is pending any more."""

    def look() -> dict[str, Any] | None:
        job = api.job(job_id)
        told = [*job["deliveries"], *filter(None, [job["notification"]])]
        is_over = job["completed_at"] and all(one["status"] != "pending" for one in told)
        return job if is_over else None

    try:
        return wait_for(look, f"the deliveries of {job_id}", seconds)
    except NeverHappenedError as error:
        raise AssertionError(f"{error}: {json.dumps(api.job(job_id), indent=1)}") from None


def mails_of(server: MailServer, job_id: str) -> list[Heading]:
    return [heading for heading in server.messages() if job_id in heading.message_id]


def events_of(namespace: str, name: str) -> dict[str, str]:
    found = get(
        "-n", namespace, "events.events.k8s.io", "--field-selector", f"regarding.name={name}"
    )
    return {event["reason"]: event["note"] for event in found["items"]}


def has_event(installation: Installation, name: str, reason: str) -> bool:
    """Events come a moment after the status that tells the same."""

    def look() -> bool:
        return reason in events_of(installation.namespace, name)

    return wait_for(look, f"the Event {reason} of {name}", 120)


def logs_of(installation: Installation, job_id: str) -> str:
    """Everything that operator and delivery pods have said of the job."""
    operator = kubectl(
        "-n", installation.namespace, "logs", "--tail=-1",
        "-l", "app.kubernetes.io/component=operator",
    )  # fmt: skip
    runners = kubectl(
        "-n", installation.namespace, "logs", "--tail=-1", "-l", f"backupexport.dev/job-id={job_id}"
    )
    return operator + runners


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_the_owner_gets_a_mail(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    mail: MailServer,
    project: str,
    tls: str,
) -> None:
    port = mail.tls_port if tls == "tls" else mail.starttls_port
    deliver(installation, project, connection, by_mail(mail, tls=tls, port=port))
    job_id = request(api, project, notify_email=OWNER, format="tar")
    job = settled(api, job_id)
    assert job["status"] == "completed"
    assert (job["notification"]["status"], job["notification"]["reason"]) == ("sent", "Succeeded")
    (heading,) = mails_of(mail, job_id)
    assert heading.recipients == (OWNER,)
    assert heading.sender == "exports@example.com"
    assert project in heading.subject
    message = mail.message(heading.id)
    artifact = job["artifact"]
    for text in (message.text, message.html):
        for fact in (project, artifact["sha256"], artifact["path"], "pg_restore", "download"):
            assert fact in text
    assert has_event(installation, job_id, "Notified")
    nowhere = logs_of(installation, job_id) + json.dumps(events_of(installation.namespace, job_id))
    assert OWNER not in nowhere
    assert mail.login[1] not in nowhere


def test_a_failed_export_is_told_too(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    mail: MailServer,
    project: str,
) -> None:
    deliver(installation, project, {**connection, "database": "no_such"}, by_mail(mail))
    job = settled(api, request(api, project, notify_email=OWNER))
    assert (job["status"], job["error"]["reason"]) == ("failed", "DatabaseNotFound")
    assert job["notification"]["status"] == "sent"
    (heading,) = mails_of(mail, job["job_id"])
    message: Message = mail.message(heading.id)
    for text in (message.text, message.html):
        assert "Database not found" in text
    assert job["error"]["message"].split(":")[0] in message.text


def test_where_no_mail_server_is_set_up_that_is_said(installation: Installation, api: Api) -> None:
    job = settled(api, request(api, SMALL, notify_email=OWNER))
    assert job["status"] == "completed"
    told = job["notification"]
    assert (told["status"], told["reason"]) == ("failed", "NotConfigured")
    assert "deliveries.email" in told["message"]
    assert has_event(installation, job["job_id"], "DeliveryFailed")


def test_a_mail_server_that_is_away_is_waited_for(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    mail: MailServer,
    project: str,
) -> None:
    deliver(installation, project, connection, by_mail(mail))
    mail.stop()
    try:
        job_id = request(api, project, notify_email=OWNER)
        job = wait_for(
            lambda: (j := api.job(job_id))["notification"]
            and j["notification"]["reason"] == "ConnectionFailed"
            and j,
            "the first attempt's failure", 300,
        )  # fmt: skip
        assert job["status"] == "completed"
        assert job["notification"]["status"] == "pending"
        assert "tried again" in job["notification"]["message"]
        assert has_event(installation, job_id, "DeliveryDelayed")
    finally:
        mail.start()
    assert settled(api, job_id, 600)["notification"]["status"] == "sent"
    assert len(mails_of(mail, job_id)) == 1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"secretRef": {"name": "wrong-login"}}, "AuthenticationFailed"),
        ({"host": "nowhere.invalid", "giveUpSeconds": 1}, "ConnectionFailed"),
        ({"caCertificates": None, "giveUpSeconds": 1}, "ConnectionFailed"),
    ],
    ids=["wrong password", "given up", "an unknown authority"],
)
def test_a_mail_that_cannot_be_sent_leaves_the_export_good(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    mail: MailServer,
    project: str,
    settings: dict[str, Any],
    reason: str,
) -> None:
    secret = {"username": mail.login[0], "password": "not-the-one"}
    apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "wrong-login", "namespace": installation.namespace},
            "stringData": secret,
        }
    )
    wanted = by_mail(mail, **settings)
    wanted["email"] = {key: value for key, value in wanted["email"].items() if value is not None}
    deliver(installation, project, connection, wanted)
    job = settled(api, request(api, project, notify_email=OWNER))
    assert job["status"] == "completed"
    assert job["error"] is None
    told = job["notification"]
    assert (told["status"], told["reason"]) == ("failed", reason), told
    assert told["message"].endswith(".")
    export = read_export(installation.namespace, job["job_id"])
    assert "deliveryPending" not in export["status"]
    assert export["status"]["phase"] == "Succeeded"
    counted = f'backupexport_deliveries_total{{kind="email",reason="{reason}"}} '
    wait_for(lambda: counts(installation, counted) >= 1, f"the count of {reason}", 120)
    assert OWNER not in logs_of(installation, job["job_id"]) + told["message"]


def counts(installation: Installation, series: str) -> float:
    """What all replicas have counted: another one may lead by now."""
    pods = kubectl(
        "-n", installation.namespace, "get", "pods", "-o", "name",
        "-l", "app.kubernetes.io/component=operator",
    ).split()  # fmt: skip
    total = 0.0
    for pod in pods:
        path = f"/api/v1/namespaces/{installation.namespace}/pods/{pod.removeprefix('pod/')}:8081"
        try:
            text = get_raw(f"{path}/proxy/metrics")
        except ToolError:
            continue
        lines = (line for line in text.splitlines() if line.startswith(series))
        total += sum(float(line.removeprefix(series)) for line in lines)
    return total


@pytest.mark.parametrize("database", [SMALL, LARGE])
def test_the_file_comes_to_a_chat_in_parts(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    bot: BotApiPod,
    project: str,
    database: str,
) -> None:
    part_bytes = 1024 if database == SMALL else 50_000_000
    deliver(
        installation, project, {**connection, "database": database},
        {"telegram": bot.settings(partBytes=part_bytes)},
    )  # fmt: skip
    job = settled(api, request(api, project), 600)
    (told,) = job["deliveries"]
    assert (told["kind"], told["status"]) == ("telegram", "sent"), told
    assert_delivered(bot, job, part_bytes)
    assert has_event(installation, job["job_id"], "Delivered")
    assert TOKEN not in logs_of(installation, job["job_id"]) + json.dumps(job)


def assert_delivered(bot: BotApiPod, job: dict[str, Any], part_bytes: int) -> None:
    """The parts, each at least once, join to the file, and the last message names each."""
    documents = {one["name"]: one for one in bot.documents(job["job_id"])}
    parts = [documents[name] for name in sorted(documents)]
    artifact = job["artifact"]
    assert len(parts) == -(-artifact["size_bytes"] // part_bytes) > 1
    assert bot.joined_sha256(parts) == artifact["sha256"]
    closing = "\n".join(
        one["text"] for one in bot.received() if job["job_id"] in one.get("text", "")
    )
    assert artifact["sha256"] in closing
    assert all(part["name"] in closing and part["sha256"] in closing for part in parts)


@pytest.mark.parametrize(
    "steps",
    [
        [{"fail": "429", "retry_after": 1}],
        [{}, {"fail": "status", "status": 502}],
        [{}, {"at": "body"}, {"fail": "slow", "seconds": 2}],
    ],
    ids=["429", "502 at the second part", "cut and slow"],
)
def test_a_bot_api_that_has_bad_moments(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    bot: BotApiPod,
    project: str,
    steps: list[dict[str, Any]],
) -> None:
    deliver(installation, project, connection, {"telegram": bot.settings(partBytes=1024)})
    bot.script(*steps)
    job = settled(api, request(api, project), 400)
    assert job["deliveries"][0]["status"] == "sent", job["deliveries"]
    assert_delivered(bot, job, 1024)
    names = [one["name"] for one in bot.documents(job["job_id"])]
    assert len(names) == len(set(names))


def test_a_bad_token_is_told_and_the_export_stays_good(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    bot: BotApiPod,
    project: str,
) -> None:
    wrong = "987654321:not-the-right-one_00000000000000000"
    apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "wrong-bot", "namespace": installation.namespace},
            "stringData": {"token": wrong, "chat_id": "-1001234567890"},
        }
    )
    deliver(
        installation, project, connection,
        {"telegram": bot.settings(secretRef={"name": "wrong-bot"})},
    )  # fmt: skip
    job = settled(api, request(api, project))
    assert job["status"] == "completed"
    (told,) = job["deliveries"]
    assert (told["status"], told["reason"]) == ("failed", "AuthenticationFailed")
    assert wrong not in logs_of(installation, job["job_id"]) + json.dumps(job)
    assert has_event(installation, job["job_id"], "DeliveryFailed")


def test_a_missing_secret_is_told_and_the_delivery_made_when_it_comes(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    bot: BotApiPod,
    project: str,
) -> None:
    name = f"late-{project}"
    deliver(
        installation, project, connection,
        {"telegram": bot.settings(secretRef={"name": name}, partBytes=1024)},
    )  # fmt: skip
    job_id = request(api, project)
    told = wait_for(
        lambda: next(
            (one for one in api.job(job_id)["deliveries"] if one["reason"] == "SecretInvalid"), None
        ),
        "the missing Secret", 240,
    )  # fmt: skip
    assert told["status"] == "pending"
    assert name in told["message"]
    secret = get("-n", installation.namespace, "secret", "telegram-bot")
    apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": installation.namespace},
            "data": secret["data"],
        }
    )
    job = settled(api, job_id, 400)
    assert job["deliveries"][0]["status"] == "sent"
    assert_delivered(bot, job, 1024)


def pods_of(installation: Installation, selector: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get("-n", installation.namespace, "pods", "-l", selector)["items"]
    return found


def test_deliveries_survive_kills_of_their_pods_and_of_the_operator(
    installation: Installation,
    api: Api,
    connection: dict[str, str],
    mail: MailServer,
    bot: BotApiPod,
    project: str,
) -> None:
    """Some of both kinds, while whatever makes them is killed again and again."""
    slow = [{"fail": "slow", "seconds": 3} for _ in range(30)]
    bot.script(*slow)
    both = by_mail(mail) | {"telegram": bot.settings(partBytes=1024)}
    deliver(installation, project, connection, both)
    jobs = [request(api, project, notify_email=OWNER) for _ in range(3)]
    chance = random.Random(7)
    kills = {"delivery": 0, "operator": 0}

    def disturb(most: int) -> None:
        """Kill one delivery's process, or delete its pod, and now and then the operators."""
        if kills["delivery"] >= most:
            return
        kinds = "backupexport.dev/task in (deliver-email,deliver-telegram)"
        ids = f"backupexport.dev/job-id in ({','.join(jobs)})"
        running = [
            pod
            for pod in pods_of(installation, f"{kinds},{ids}")
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]
        if not running:
            return
        victim = chance.choice(running)["metadata"]
        if chance.random() < 0.6:
            kills["delivery"] += len(kill_inside(victim["uid"]))
        else:
            kubectl(
                "-n", installation.namespace, "delete", "pod", victim["name"],
                "--ignore-not-found", "--wait=false", "--grace-period=0", "--force",
            )  # fmt: skip
            kills["delivery"] += 1
        if kills["operator"] < 2:
            for pod in pods_of(installation, "app.kubernetes.io/component=operator"):
                kills["operator"] += bool(kill_inside(pod["metadata"]["uid"]))

    ended = [settled_meanwhile(api, job_id, lambda: disturb(8)) for job_id in jobs]
    assert kills["delivery"] >= 3, kills
    for job in ended:
        assert job["status"] == "completed"
        assert job["notification"]["status"] == "sent", job["notification"]
        assert job["deliveries"][0]["status"] == "sent", job["deliveries"]
        found = mails_of(mail, job["job_id"])
        assert found
        assert len({heading.message_id for heading in found}) == 1
        assert_delivered(bot, job, 1024)
        export = read_export(installation.namespace, job["job_id"])
        assert export["status"]["attempts"] == 1
        files = [
            file
            for file in installation.volume.files(project)
            if job["job_id"] in file and not file.rpartition("/")[2].startswith(".")
        ]
        assert len(files) == 2


def settled_meanwhile(api: Api, job_id: str, disturb: Callable[[], None]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        disturb()
        try:
            return settled(api, job_id, 0.5)
        except AssertionError:
            return None

    return wait_for(look, f"the deliveries of {job_id}", 1200)


def test_only_a_deliverys_own_pod_sees_its_secret(
    installation: Installation,
    connection: dict[str, str],
    bot: BotApiPod,
    project: str,
) -> None:
    deliver(installation, project, connection, {"telegram": bot.settings()})
    apply(export_manifest(installation.namespace, project, projectId=project))
    uid = wait_for(
        lambda: read_export(installation.namespace, project).get("status", {}).get("phase")
        == "Succeeded"
        and read_export(installation.namespace, project)["metadata"]["uid"],
        "the export", 300,
    )  # fmt: skip
    jobs = wait_for(
        lambda: len(
            found := get(
                "-n", installation.namespace, "jobs", "-l", f"backupexport.dev/export-uid={uid}"
            )["items"]
        )
        == 2
        and found,
        "both Jobs", 120,
    )  # fmt: skip
    seen = {
        job["metadata"]["labels"]["backupexport.dev/task"]: [
            source["secret"]["name"]
            for volume in job["spec"]["template"]["spec"]["volumes"]
            for source in volume.get("projected", {"sources": []})["sources"]
        ]
        for job in jobs
    }
    (target,) = seen["export"]
    assert target.startswith("target-")
    assert seen["deliver-telegram"] == ["telegram-bot"]
