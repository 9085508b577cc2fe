"""Whether the faults of a run had effects that others saw, by kind; pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from chaos_schedule import Fault, Manner


@dataclass(frozen=True)
class _Effect:
    """`least` hits are enough to be sure of one; a single one may meet what just ended."""

    name: str
    words: str
    is_caused_by: Callable[[Fault], bool]
    least: int = 1


def _of(victim: str, *manners: Manner) -> Callable[[Fault], bool]:
    return lambda fault: fault.victim == victim and (not manners or fault.manner in manners)


_DELETING = (Manner.DELETE, Manner.FORCE)
_EFFECTS = (
    _Effect("takeovers", "takeover of the Lease", _of("operator", *_DELETING, Manner.FREEZE)),
    _Effect(
        "operator_restarts",
        "new process in a pod of the operator",
        _of("operator", Manner.SIGKILL),
    ),
    _Effect("api_pods_gone", "pod of the api that is gone", _of("api", *_DELETING)),
    _Effect("api_restarts", "new process in a pod of the api", _of("api", Manner.SIGKILL)),
    _Effect("runners_lost", "runner that was killed or is gone", _of("runner")),
    _Effect("repeated_attempts", "export with a second attempt", _of("runner"), least=3),
    _Effect("database_pods_gone", "pod of the database that is gone", _of("database")),
    _Effect("mail_pods_gone", "pod of the mail server that is gone", _of("mail")),
    _Effect("server_outages", "cut watch or refused request", _of("kube-apiserver")),
    _Effect("cancelled", "export that ended as cancelled", _of("export", Manner.CANCEL), least=3),
    _Effect("exports_gone", "export that is gone", _of("export", Manner.DELETE)),
    _Effect("jobs_gone", "Job that is gone", _of("job")),
    _Effect("targets_suspended", "target that was suspended", _of("target", Manner.SUSPEND)),
    _Effect("targets_gone", "target that was gone", _of("target", Manner.REMAKE)),
    _Effect("full_volumes", "export or pod that told StorageFull", _of("volume")),
    _Effect("skewed_reports", "time that a node reported wrongly", _of("clock")),
)
# What a run of its own makes happen, whatever it strikes.
_ALWAYS = (
    ("expired", "export that went with its retention"),
    ("mails", "mail"),
)


def without_effect(hits: Mapping[Fault, int], seen: Mapping[str, int]) -> list[str]:
    """Whoever was hit showed it: how often each fault found somebody, and what there was to see."""
    sins = []
    for effect in _EFFECTS:
        by = {fault: count for fault, count in hits.items() if effect.is_caused_by(fault)}
        if sum(by.values()) >= effect.least and not seen.get(effect.name):
            faults = ", ".join(f"{count} x {fault}" for fault, count in by.items())
            sins.append(f"{faults}: not one {effect.words}")
    sins += [f"the whole run: not one {words}" for name, words in _ALWAYS if not seen.get(name)]
    return sins


def idle_faults(planned: Iterable[Fault], hits: Mapping[Fault, int]) -> list[str]:
    """In a long run each kind of fault finds somebody to hit."""
    return sorted(f"{fault}: never hit anybody" for fault in set(planned) if not hits.get(fault))
