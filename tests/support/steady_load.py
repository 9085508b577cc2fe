"""Runs in a pod: GETs over kept-alive connections, no second try, until /tmp/stop is there.

Arguments: host, port, path, seconds between a worker's requests, and a token for each worker.
Prints how many requests there were and what went wrong.
"""

import collections
import http.client
import json
import pathlib
import sys
import threading
import time

STOP = pathlib.Path("/tmp/stop")
GIVE_UP_SECONDS = 900


class Load:
    """What the workers share."""

    def __init__(self, host: str, port: int, path: str, pause: float) -> None:
        self.address = (host, port)
        self.path = path
        self.pause = pause
        self.answers: collections.Counter[str] = collections.Counter()
        self.connections = 0
        self.stopped = threading.Event()

    def work(self, token: str) -> None:
        """Ask again and again; a connection is replaced only where the server has said so."""
        headers = {"Authorization": f"Bearer {token}"}
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        while not self.stopped.wait(self.pause):
            self.connections += connection.sock is None
            try:
                connection.request("GET", self.path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                self.answers[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.answers[type(error).__name__] += 1
                connection.close()


def main() -> None:
    """Load until told to stop."""
    host, port, path, pause, *tokens = sys.argv[1:]
    load = Load(host, int(port), path, float(pause))
    workers = [threading.Thread(target=load.work, args=(token,)) for token in tokens]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not STOP.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    load.stopped.set()
    for worker in workers:
        worker.join()
    sys.stdout.write(json.dumps({"answers": load.answers, "connections": load.connections}))


if __name__ == "__main__":
    main()
