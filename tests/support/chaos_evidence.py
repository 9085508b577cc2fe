"""What a person needs to find out what went wrong in a chaos run."""

import contextlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Self

import api_pods
from playground.tools import STATE, ToolError, environment, kubectl

_KINDS = ("backupexports", "exporttargets", "jobs", "pods", "events", "leases", "pvc")
_AGAIN_SECONDS = 1.0


class Evidence:
    """Follows all pods' logs, since those of a pod that is deleted by force go with it."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.folder = STATE / "chaos" / namespace
        self._streams: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow_all, name="logs", daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()
        for stream in self._streams.values():
            stream.terminate()
            stream.wait()

    def discard(self) -> None:
        """All went well: nobody wants to read it."""
        shutil.rmtree(self.folder)

    def collect(self, story: str) -> Path:
        """Write down what the cluster has, and the run's own story; where it is."""
        (self.folder / "story.txt").write_text(story, encoding="utf-8")
        for kind in _KINDS:
            self._save(f"{kind}.yaml", "get", kind, "-o", "yaml")
        for component in ("operator", "api"):
            for pod in self._pods(component):
                self._save(f"{pod}.previous.log", "logs", pod, "--previous")
        for pod in self._pods("runner"):
            self._save(f"{pod}.log", "logs", pod)
        return self.folder

    def _save(self, name: str, *arguments: str) -> None:
        with contextlib.suppress(ToolError, subprocess.TimeoutExpired):
            text = kubectl("-n", self._namespace, *arguments, timeout=30)
            (self.folder / name).write_text(text, encoding="utf-8")

    def _pods(self, component: str) -> list[str]:
        try:
            return api_pods.names(self._namespace, component)
        except (ToolError, subprocess.TimeoutExpired):
            return []

    def _follow_all(self) -> None:
        while not self._stopped.wait(_AGAIN_SECONDS):
            for component in ("operator", "api"):
                for pod in self._pods(component):
                    stream = self._streams.get(pod)
                    if stream is None or stream.poll() is not None:
                        self._streams[pod] = self._follow(pod)

    def _follow(self, pod: str) -> subprocess.Popen[bytes]:
        command = [str(STATE / "bin" / "kubectl"), "-n", self._namespace, "logs", "--follow"]
        with (self.folder / f"{pod}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--timestamps", f"pod/{pod}"],
                stdout=log,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **environment()},
            )
