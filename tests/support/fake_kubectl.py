"""A kubectl for tests, a program on a PATH of its own: it says what it was told to say."""

import json
import os
import sys
from pathlib import Path
from typing import Any

_PROGRAM = """#!{python} -IS
import json, os, signal, sys

folder = os.path.dirname(os.path.abspath(__file__))
argv = sys.argv[1:]
stdin = sys.stdin.read() if "--filename=-" in argv else ""
with open(folder + "/answers.json") as file:
    rules = json.load(file)
number = next((n for n, it in enumerate(rules) if set(it["words"]) <= set(argv)), None)
with open(folder + "/calls.jsonl", "a+") as file:
    file.seek(0)
    past = sum(json.loads(line)["rule"] == number for line in file)
    call = dict(rule=number, argv=argv, stdin=stdin, pid=os.getpid(), env=dict(os.environ))
    file.write(json.dumps(call) + "\\n")
if number is None:
    sys.exit("error: the test expects no " + " ".join(argv))
answers = rules[number]["answers"]
answer = answers[min(past, len(answers) - 1)]
sys.stderr.write(answer["err"])
sys.stderr.flush()
sys.stdout.write(answer["out"])
sys.stdout.flush()
if answer["stays"]:
    signal.pause()
sys.exit(answer["code"])
"""


class FakeKubectl:
    """What is to be said is told beforehand, by words that the command has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rules: list[dict[str, Any]] = []
        program = folder / "kubectl"
        program.write_text(_PROGRAM.format(python=sys.executable), encoding="utf-8")
        program.chmod(0o755)
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.folder)}

    def says(
        self, *words: str, out: Any = "", err: str = "", code: int = 0, stays: bool = False
    ) -> "FakeKubectl":
        """Answer a command that has all `words`; told again of the same, it is the next answer.

        The last one is given from then on.  What is no text is printed as JSON; with `stays` it
        goes on until it is ended.
        """
        text = out if isinstance(out, str) else json.dumps(out, indent=4) + "\n"
        answer = {"out": text, "err": err, "code": code, "stays": stays}
        for rule in self._rules:
            if rule["words"] == list(words):
                rule["answers"].append(answer)
                break
        else:
            self._rules.append({"words": list(words), "answers": [answer]})
            # What says more about the command comes first.
            self._rules.sort(key=lambda rule: -len(rule["words"]))
        self._write()
        return self

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The commands so far: argv, stdin, pid, env."""
        file = self.folder / "calls.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def _write(self) -> None:
        (self.folder / "answers.json").write_text(json.dumps(self._rules), encoding="utf-8")


def is_running(pid: int) -> bool:
    """Whether there is a process with this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
