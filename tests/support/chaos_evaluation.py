"""What is looked at when a chaos run is over: exports, files, their contents and REST's answers."""

import contextlib
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from backupexport_contract.reasons import REST_STATUS, Phase
from chaos_callers import Delivery, ask
from chaos_databases import fingerprint
from chaos_verdict import FINISHED, Export, File
from chaos_watch import Ledger, read_export
from playground.mail_server import Heading, MailServer
from playground.postgres import Postgres
from playground.rest import Answer, Api
from playground.restore import ExportsVolume
from playground.tools import NeverHappenedError, ToolError, kubectl, wait_for

# From the last fault to the last end: backoff doubles from 10 s.
_PATIENCE_SECONDS = 900


def wait_for_ends(namespace: str, wanted: set[str], ledger: Ledger) -> list[Export]:
    """All exports, once nothing is left to be done for any and no runner is left, or time is up.

    Those wanted have ended, or are gone; no mail is to be sent any more, and no file to be removed
    within the run.
    """
    latest: list[Export] = []

    def look() -> bool:
        try:
            found = kubectl("-n", namespace, "get", "bex", "-o", "json", timeout=20)
            items = json.loads(found)["items"]
            latest[:] = [read_export(item, ledger.began) for item in items]
            pods = kubectl(
                "-n", namespace, "get", "pods", "-o", "name", "-l",
                "app.kubernetes.io/component=runner",
                "--field-selector=status.phase!=Succeeded,status.phase!=Failed",
            )  # fmt: skip
        except (ToolError, subprocess.TimeoutExpired):
            return False
        is_open = any(
            export.phase not in FINISHED
            or expires_soon(export)
            or item.get("status", {}).get("deliveryPending")
            for item, export in zip(items, latest, strict=True)
        )
        known = {export.name for export in latest} | ledger.gone.keys()
        return not pods and not is_open and known >= wanted

    with contextlib.suppress(NeverHappenedError):
        wait_for(look, "all ends", _PATIENCE_SECONDS, every=1)
    return latest


def files_on(volume: ExportsVolume) -> list[File]:
    """Every file on the volume with its size and checksum."""
    sizes = volume.run("find", ".", "-type", "f", "-printf", "%s %P\\n").splitlines()
    sums = volume.run("find", ".", "-type", "f", "-exec", "sha256sum", "{}", "+").splitlines()
    digest_of = {path.removeprefix("./"): digest for digest, _, path in map(_split_sum, sums)}
    found = (line.split(" ", 1) for line in sizes)
    return [File(path, int(size), digest_of.get(path)) for size, path in found]


def _split_sum(line: str) -> tuple[str, str, str]:
    return line.partition("  ")


def restored_contents(
    volume: ExportsVolume, server: Postgres, exports: Sequence[Export]
) -> tuple[dict[str, str], list[str]]:
    """Fingerprints of what the artifacts restore to, and what went wrong with that."""
    fingerprints, sins = {}, []
    for export in exports:
        if export.artifact is None:
            continue
        try:
            volume.restore(export.artifact.path, "restored")
            fingerprints[export.name] = fingerprint(server, "restored")
        except ToolError as error:
            sins.append(f"{export.name}: {export.artifact.path} does not restore: {error}")
    return fingerprints, sins


def other_answers(
    apis: Sequence[Api], deliveries: Sequence[Delivery], exports: Sequence[Export]
) -> list[str]:
    """What REST says is what the resource says, and a key still means its job."""
    sins = []
    phases = {export.name: export.phase for export in exports}
    for delivery in deliveries:
        if delivery.job_id is None or delivery.job_id not in phases:
            continue
        api, wanted = apis[delivery.order.caller], REST_STATUS[Phase(phases[delivery.job_id])]
        told = api.job(delivery.job_id)["status"]
        if told != wanted:
            sins.append(f"{delivery.job_id}: REST says {told}, the resource {wanted}")
        job_id = _repeated(api, delivery)
        if job_id != delivery.job_id:
            sins.append(f"{delivery.order.key}: was {delivery.job_id}, and repeated is {job_id}")
    return sins


def _repeated(api: Api, delivery: Delivery) -> str:
    def accepted() -> Answer | None:
        answer = ask(api, delivery.order)
        return answer if answer is not None and answer.status == 202 else None

    try:
        return str(wait_for(accepted, "a 202", 120, every=1).body["data"]["job_id"])
    except NeverHappenedError:
        return "never accepted"


def expires_soon(export: Export) -> bool:
    """Whether its time is over while the run still looks at it."""
    return export.expires is not None and export.expires < time.time() + _PATIENCE_SECONDS


def mails_by_address(server: MailServer) -> Counter[str]:
    """How many mails each address has got."""
    headings = wait_for(lambda: _messages(server), "the mails", 120, every=1)
    return Counter(address for heading in headings for address in heading.recipients)


def _messages(server: MailServer) -> list[Heading] | None:
    with contextlib.suppress(ToolError, ValueError):
        return server.messages()
    return None


def count_answers(deliveries: Sequence[Delivery]) -> str:
    """How often which answer came, of all callers."""
    total: Counter[str] = Counter()
    for delivery in deliveries:
        total += delivery.answers
    return ", ".join(f"{count} x {answer}" for answer, count in sorted(total.items()))


def table(
    exports: Sequence[Export], ledger: Ledger, deliveries: Sequence[Delivery]
) -> Iterator[str]:
    """A line for each export."""
    fields_of = {each.job_id: dict(each.order.fields) for each in deliveries}
    for export in sorted(exports, key=lambda export: export.created):
        fields = fields_of.get(export.name, {})
        took = f"{export.completed - export.created:4.0f} s" if export.completed else "no end"
        yield (
            f"  {export.name} {export.project:14} {fields.get('format', '?')} "
            f"{fields.get('compression', 'none'):4} {export.phase:9} {export.reason or '-':20} "
            f"attempts {export.attempts} pods {len(ledger.pods(export.name))} "
            f"jobs {len(ledger.jobs[export.name])} {took}"
            f"{', gone' if export.name in ledger.gone else ''}"
        )
