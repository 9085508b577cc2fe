"""`login --kube` and `token --kube`, with a program in kubectl's place."""

import json
import os
import sys
from pathlib import Path

import cli_home
import jwt
import pytest
from backupexport_cli.__main__ import main
from backupexport_cli.login import contexts
from backupexport_cli.login.token_store import TokenStore
from playground.tools import ROOT

SECRET = "a-secret-of-the-tests-" + "0123456789" * 3

# It runs the api's own program where the real one would do so in a pod.
_KUBECTL = """#!{python}
import json, os, sys
sys.path[:0] = {paths!r}
arguments = [each for each in sys.argv[1:] if not each.startswith("--request-timeout=")]
with open({log!r}, "a") as log:
    log.write(json.dumps(arguments) + "\\n")
if "get" in arguments:
    items = [
        {{"metadata": {{"name": f"{{name}}-backupexport-api", "namespace": "exports",
          "labels": {{"app.kubernetes.io/instance": name}}}}}}
        for name in os.environ["RELEASES"].split()
        if not any("instance=" in each for each in arguments)
        or any(each.endswith(f"instance={{name}}") for each in arguments)
    ]
    print(json.dumps({{"items": items}}))
elif "exec" in arguments:
    os.environ["BACKUPEXPORT_JWT_SECRET"] = {secret!r}
    from backupexport_api.auth.token_command import main
    sys.exit(main(arguments[arguments.index("--") + 2:]))
elif "whoami" in arguments:
    print(json.dumps({{"status": {{"userInfo": {{"username": "alice@example.com"}}}}}}))
elif "current-context" in arguments:
    print("kind-test")
elif "view" in arguments:
    print(json.dumps({{"server": "https://10.0.0.1:6443"}}))
else:
    sys.exit(f"error: what is {{arguments}}")
"""


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What kubectl was asked, a line of JSON each time."""
    cli_home.isolate(monkeypatch, tmp_path)
    file = tmp_path / "kubectl.log"
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    paths = [str(ROOT / folder) for folder in ("api", "crds")]
    program.write_text(
        _KUBECTL.format(python=sys.executable, paths=paths, log=str(file), secret=SECRET)
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RELEASES", "demo")
    return file


def test_the_api_makes_the_token(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["login", "--kube", "-n", "exports", "--project", "p-1", "--ttl", "30m"]) == 0
    out, err = capsys.readouterr()
    assert "Subject   alice@example.com" in out
    assert "Projects  p-1" in out
    assert "Next:" in err
    context = contexts.load().find()
    assert context is not None
    assert (context.name, context.kube_context) == ("exports-demo", "kind-test")
    assert context.kube_service == "demo-backupexport-api"
    assert context.kube_cluster
    tokens = TokenStore().get("exports-demo")
    assert tokens is not None
    claims = jwt.decode(tokens.value, SECRET, algorithms=["HS256"])
    assert claims["exp"] - claims["iat"] == 1800
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    assert all("--namespace=exports" in each for each in asked)
    assert tokens.value not in log.read_text() + out + err


def test_of_two_releases_one_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELEASES", "one two")
    assert main(["login", "--kube"]) == 2
    assert "one, two" in capsys.readouterr().err
    assert main(["login", "--kube", "--release", "three"]) == 4
    assert main(["login", "--kube", "--release", "two", "--name", "mine"]) == 0
    found = contexts.load().find("mine")
    assert found is not None
    assert found.kube_service == "two-backupexport-api"


def test_a_token_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--kube", "--subject", "ci", "--all-projects", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert jwt.decode(out.strip(), SECRET, algorithms=["HS256"])["sub"] == "ci"
    assert err == ""


def test_a_wrong_option_asks_nobody(log: Path) -> None:
    assert main(["login", "--kube", "--ttl", "soon"]) == 2
    assert not log.exists()
