"""Callers who repeat a request with its key until it is accepted, whatever breaks meanwhile."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from chaos_schedule import Order
from chaos_verdict import Accepted, Refusal
from playground.rest import Answer, Api

_PATIENCE_SECONDS = 400
_AGAIN_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5
# Said of a request that may be repeated as it is.
_LATER = (429, 502, 503, 504)


@dataclass
class Delivery:
    """How an order fared; `answers` counts status codes, and `cut` for none at all."""

    order: Order
    job_id: str | None = None
    answers: Counter[str] = field(default_factory=Counter)
    sins: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def accepted(self) -> Accepted | None:
        """What it became, if anything."""
        if self.job_id is None:
            return None
        return Accepted(self.order.key, self.job_id, self.order.project)


class Callers:
    """One thread a caller; `clock` is the run's time in seconds."""

    def __init__(
        self, apis: Sequence[Api], orders: Sequence[Order], clock: Callable[[], float]
    ) -> None:
        self._apis = apis
        self._clock = clock
        self._stopped = threading.Event()
        self.deliveries = [Delivery(order) for order in orders]
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"caller {number}")
            for number in range(len(apis))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self.join()

    def accepted(self) -> list[Accepted]:
        """What has got its 202 by now."""
        return [each.accepted for each in self.deliveries if each.accepted]

    def join(self) -> None:
        """Wait until everything is delivered or given up."""
        for thread in self._threads:
            thread.join()

    def _work(self, caller: int) -> None:
        for delivery in self.deliveries:
            if delivery.order.caller != caller:
                continue
            if self._stopped.wait(max(0.0, delivery.order.second - self._clock())):
                return
            self._deliver(self._apis[caller], delivery)

    def _deliver(self, api: Api, delivery: Delivery) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._stopped.is_set():
            answer = ask(api, delivery.order)
            delivery.answers["cut" if answer is None else str(answer.status)] += 1
            if answer is not None and answer.status == 202:
                delivery.job_id = answer.body["data"]["job_id"]
                return
            if answer is not None and _knows_no_project(answer):
                order = delivery.order
                delivery.refusals.append(Refusal(order.key, order.project, time.time()))
            elif answer is not None and answer.status not in _LATER:
                delivery.sins.append(
                    f"{delivery.order.key}: a good request was answered {answer.status} "
                    f"{answer.body}"
                )
                if answer.status < 500:
                    return
            if time.monotonic() > deadline:
                delivery.sins.append(
                    f"{delivery.order.key}: not accepted in {_PATIENCE_SECONDS} s, "
                    f"{dict(delivery.answers)}"
                )
                return
            self._stopped.wait(_pause(answer))


def ask(api: Api, order: Order) -> Answer | None:
    """One POST; None where there was no whole answer."""
    try:
        return api.export(order.key, **dict(order.fields))
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _knows_no_project(answer: Answer) -> bool:
    """Whether it says that there is no target, which may just be made anew."""
    return answer.status == 404 and answer.body.get("code") == "project_not_found"


def _pause(answer: Answer | None) -> float:
    told = "" if answer is None else answer.headers.get("retry-after", "")
    return min(float(told), _LONGEST_PAUSE_SECONDS) if told.isdigit() else _AGAIN_SECONDS
