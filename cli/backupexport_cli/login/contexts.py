"""The servers that were logged in to, by name, and which of them is meant unless one is named."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login.places import config_directory
from backupexport_cli.login.private_files import lock, read_json, write_json

_FILE, _LOCK = "contexts.json", "contexts.lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Context:
    """A server, how it is reached, and who makes its tokens."""

    name: str
    url: str
    """Empty where `kube_service` leads to it."""
    issuer: str | None = None
    client_id: str | None = None
    kube_context: str | None = None
    kube_namespace: str | None = None
    kube_service: str | None = None
    insecure_http: bool = False
    """Whether its token may go over http: to a host that is not this machine."""

    @property
    def place(self) -> str:
        """What a person calls it by: its address, or its Service."""
        if self.kube_service is None:
            return self.url
        of = f" of the context {self.kube_context}" if self.kube_context else ""
        return f"{self.kube_namespace}/{self.kube_service} in the cluster{of}"

    @property
    def login_command(self) -> str:
        """What a person types for a new token of it."""
        if self.kube_service is None:
            return "backupexport login"
        command = ["backupexport", "--kube", "-n", self.kube_namespace or "default", "login"]
        if self.kube_context:
            command += ["--kubeconfig-context", self.kube_context]
        return shlex.join([*command, "--name", self.name])


@dataclass(frozen=True, slots=True)
class Contexts:
    """All of them; `current` is the name of one, or None."""

    by_name: dict[str, Context]
    current: str | None = None

    def find(self, name: str | None = None) -> Context | None:
        """Return the context of that name, else the current one; raises CliError at an unknown."""
        wanted = name or self.current
        if wanted is None:
            return None
        if wanted not in self.by_name:
            known = ", ".join(sorted(self.by_name)) or "none yet"
            raise CliError(
                ExitCode.NOT_FOUND,
                f"There is no context {wanted}.",
                f"Name one of these: {known}; or make it with"
                f" `backupexport login --name {wanted} --url URL`.",
            )
        return self.by_name[wanted]

    def having(self, context: Context) -> "Contexts":
        """Return them with this one, which is the current one now."""
        return Contexts({**self.by_name, context.name: context}, context.name)

    def using(self, name: str) -> "Contexts":
        """Return them with another current one; raises CliError at an unknown."""
        self.find(name)
        return replace(self, current=name)

    def without(self, name: str) -> "Contexts":
        """Return them without this one; raises CliError at an unknown."""
        self.find(name)
        left = {each: context for each, context in self.by_name.items() if each != name}
        return Contexts(left, None if self.current == name else self.current)


def load() -> Contexts:
    """Return the contexts that are kept."""
    return _of_document(read_json(config_directory() / _FILE))


def change(changed: Callable[[Contexts], Contexts]) -> Contexts:
    """Keep what `changed` makes of the contexts, and return it; no other process comes between."""
    folder = config_directory()
    with lock(folder / _LOCK):
        found = changed(load())
        write_json(folder / _FILE, _to_document(found))
    return found


def valid_name(name: str) -> str:
    """Return the name; raises CliError where it can't be one."""
    if not _NAME.fullmatch(name):
        raise CliError(
            ExitCode.USAGE,
            "A context's name has letters, digits, dots, dashes and underscores, 100 at most.",
            "Give another one with --name.",
        )
    return name


def named(kept: Contexts, context: Context, base: str) -> Context:
    """Return it with the name that its place has already, else with one made of `base`."""
    for known in kept.by_name.values():
        if known.place == context.place:
            return replace(context, name=known.name)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", base).strip("-._")[:90] or "default"
    numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return replace(context, name=next(each for each in numbered if each not in kept.by_name))


def _to_document(contexts: Contexts) -> dict[str, Any]:
    return {
        "current": contexts.current,
        "contexts": {name: _to_entry(context) for name, context in contexts.by_name.items()},
    }


def _to_entry(context: Context) -> dict[str, Any]:
    entry: dict[str, Any] = {"url": context.url}
    for key in ("issuer", "client_id"):
        if value := getattr(context, key):
            entry[key] = value
    if context.kube_service is not None:
        entry["kube"] = {
            "context": context.kube_context,
            "namespace": context.kube_namespace,
            "service": context.kube_service,
        }
    if context.insecure_http:
        entry["insecure_http"] = True
    return entry


def _of_document(document: dict[str, Any]) -> Contexts:
    entries = document.get("contexts")
    by_name = {
        name: _of_entry(name, entry)
        for name, entry in (entries.items() if isinstance(entries, dict) else ())
        if isinstance(entry, dict)
    }
    current = document.get("current")
    known = isinstance(current, str) and current in by_name
    return Contexts(by_name, current if known else None)


def _of_entry(name: str, entry: dict[str, Any]) -> Context:
    kube = entry.get("kube")
    kube = kube if isinstance(kube, dict) else {}
    return Context(
        name,
        _text(entry, "url") or "",
        _text(entry, "issuer"),
        _text(entry, "client_id"),
        _text(kube, "context"),
        _text(kube, "namespace"),
        _text(kube, "service"),
        entry.get("insecure_http") is True,
    )


def _text(entry: dict[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) else None
