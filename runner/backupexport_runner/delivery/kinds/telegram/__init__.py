"""Sends the finished file to a Telegram chat as a document, or in parts if it is too large.

The file is read twice: once for its checksums, so that a damaged or swapped file is never sent as a
good one, and once to send it.
"""

import contextlib
import re
import ssl
from dataclasses import dataclass

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Artifact

from backupexport_runner.delivery.kinds.telegram import parts, texts
from backupexport_runner.delivery.kinds.telegram.answers import InChat, Moved, Refused
from backupexport_runner.delivery.kinds.telegram.bot_api import BotApi
from backupexport_runner.delivery.kinds.telegram.journal import Journal, parts_in_chat, parts_plan
from backupexport_runner.delivery.kinds.telegram.sending import Sender
from backupexport_runner.delivery.parcel import Parcel
from backupexport_runner.delivery.tls import tls_context
from backupexport_runner.storage.failures import FileChangedFailure, file_changed, file_missing
from backupexport_runner.storage.interface import Notes, Reader
from backupexport_runner.task.failure import Failure, malformed_delivery

_KIND = "telegram"
_TOKEN = re.compile(r"[0-9]{1,32}:[A-Za-z0-9_-]{1,256}")
_CHAT_ID = re.compile(r"-?[0-9]{1,32}|@[A-Za-z][A-Za-z0-9_]{1,63}")


@dataclass(frozen=True, slots=True)
class _Settings:
    api_url: str
    part_bytes: int
    token: str
    chat_id: str
    tls: ssl.SSLContext


def deliver(parcel: Parcel) -> str:
    """Sends what isn't in the chat yet."""
    settings = _settings(parcel)
    artifact = parcel.end.artifact
    if artifact is None:
        raise file_missing()
    count = parts.part_count(artifact.size_bytes, settings.part_bytes)
    if count > parts.MOST_PARTS:
        raise Failure(
            ExitCode.DELIVERY_REFUSED,
            f"The file would go in {count} parts, and a chat is no place for more than "
            f"{parts.MOST_PARTS}: raise partBytes with a Bot API server of your own, or fetch the "
            "file in another way.",
        )
    with (
        contextlib.closing(parcel.open_storage()) as storage,
        storage.finished(parcel.request) as finished,
    ):
        notes = finished.notes(_KIND)
        try:
            with finished.opened(artifact.size_bytes) as file:
                _send(parcel, settings, artifact, notes, file)
        except Failure as failure:
            if failure.exit_code == ExitCode.FILE_MISSING:
                is_changed = isinstance(failure, FileChangedFailure)
                _disown(parcel, settings, notes, is_changed=is_changed)
            raise
    return texts.success_sentence(artifact.size_bytes, count)


def _send(
    parcel: Parcel, settings: _Settings, artifact: Artifact, notes: Notes, file: Reader
) -> None:
    request = parcel.request
    planned = parts.plan_parts(request.file_name, artifact.size_bytes, settings.part_bytes)
    sha256s, whole = parts.checksums(file, planned, parcel.check)
    if whole != artifact.sha256:
        raise file_changed()
    messages: tuple[str, ...] = ()
    restore = parcel.end.restore_command
    if request.is_encrypted:
        messages = (texts.restore_message(restore),)
    if len(planned) > 1:
        messages = texts.closing_messages(request, planned, sha256s, whole, restore)
    plan = parts_plan(whole, settings.part_bytes, settings.chat_id)
    journal = Journal(notes, plan, planned, sha256s, len(messages))
    sent = journal.parts_sent
    if sent == len(planned) and journal.messages_sent == len(messages):
        return
    journal.begin()
    parcel.log.event("sending", parts=len(planned), parts_sent=sent)
    with BotApi(settings.api_url, settings.token, settings.tls) as api:
        sender = Sender(api, settings.chat_id, journal, parcel.log, parcel.check)
        sender.wait_out()
        for part, sha256 in tuple(zip(planned, sha256s, strict=True))[sent:]:
            caption = texts.caption(request, part, len(planned), sha256, parcel.end)
            sender.send_part(file, part, sha256, caption)
            parcel.log.event(
                "part_sent", part=part.number, parts=len(planned), size_bytes=part.size
            )
        for index, message in enumerate(messages):
            if index >= journal.messages_sent:
                sender.send_message(index, message)


def _disown(parcel: Parcel, settings: _Settings, notes: Notes, *, is_changed: bool) -> None:
    """Tells the chat if it has parts that nobody can use.  Raises Failure if that can't be yet."""
    sent, planned, is_damaged = parts_in_chat(notes)
    if sent and (is_changed or is_damaged):
        text = texts.damaged_file_message(parcel.request)
    elif 0 < sent < planned:
        text = texts.incomplete_parts_message(parcel.request, sent, planned)
    else:
        return
    with BotApi(settings.api_url, settings.token, settings.tls) as api:
        answer = api.send_message(settings.chat_id, text)
        if isinstance(answer, Moved):
            answer = api.send_message(answer.chat_id, text)
    if isinstance(answer, InChat):
        # The parts are of a file that is gone: nothing goes on from there.
        notes.remove()
    elif isinstance(answer, Refused):
        parcel.log.event("chat_not_told", message=answer.message)
    else:
        raise Failure(
            ExitCode.DELIVERY_DEFERRED,
            "The export's file is gone or changed, and the chat, which has parts of it, can't be "
            "told yet; it is tried again.",
        )


def _settings(parcel: Parcel) -> _Settings:
    api_url, part_bytes = parcel.settings.get("apiUrl"), parcel.settings.get("partBytes")
    if not isinstance(api_url, str) or type(part_bytes) is not int or part_bytes < 1:
        raise malformed_delivery("apiUrl or partBytes is wrong")
    return _Settings(
        api_url=api_url,
        part_bytes=part_bytes,
        token=_credential(parcel, "token", _TOKEN, "123456:ABC-DEF, as BotFather gives it"),
        chat_id=_credential(parcel, "chat_id", _CHAT_ID, "a number or @name"),
        tls=tls_context(parcel.settings.get("caCertificates")),
    )


def _credential(parcel: Parcel, key: str, shape: re.Pattern[str], words: str) -> str:
    value = parcel.credential(key)
    if shape.fullmatch(value) is None:
        raise Failure(
            ExitCode.SECRET_INVALID,
            f"The delivery's Secret has a {key} of a wrong shape: it must look like {words}.",
        )
    return value
