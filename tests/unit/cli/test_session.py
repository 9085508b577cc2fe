"""Where a session leads to."""

import json
from pathlib import Path

import httpx
import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl.exports import KubeExports
from backupexport_cli.login import contexts
from backupexport_cli.login.contexts import Context, Contexts
from backupexport_cli.service.http import ApiHttp, GivenToken
from backupexport_cli.service.rest import RestExports
from backupexport_cli.session import GlobalOptions, Session, server_url
from fake_kubectl import FakeKubectl

URL = "https://exports.example.com"


@pytest.fixture(autouse=True)
def _own_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "config_directory", lambda: tmp_path)


def _session(**options: object) -> Session:
    given: dict[str, object] = {"environment": {"BACKUPEXPORT_TOKEN": "t"}} | options
    return Session(GlobalOptions(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (URL, URL),
        (f" {URL}/ ", URL),
        (f"{URL}:8443/backups/", f"{URL}:8443/backups"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_address_is_taken_without_what_makes_no_difference(text: str, url: str) -> None:
    assert server_url(text, allow_http=False) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "exports.example.com", "ftp://x", "https://", "https://u:p@x", "https://u@x",
        "https://x:99999", "https://x?a", "https://x#a", "http://x", "http://localhost.evil.com",
        "http://127.0.0.1.evil.com", "http://127.0.0.1@evil.com", "https://[",
    ],
)  # fmt: skip
def test_an_address_to_which_no_token_may_go_is_refused(text: str) -> None:
    with pytest.raises(CliError) as caught:
        server_url(text, allow_http=False)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "u:p" not in caught.value.message


def test_http_is_taken_where_the_user_says_so() -> None:
    assert server_url("http://x", allow_http=True) == "http://x"


def test_exports_are_asked_of_the_api_or_of_kubernetes() -> None:
    session = _session(url=URL)
    assert isinstance(session.exports(), RestExports)
    assert session.exports() is session.rest()
    session.close()
    assert isinstance(_session(kube=True).exports(), KubeExports)


def test_without_a_server_the_login_is_named() -> None:
    with pytest.raises(CliError) as caught:
        _session(environment={}).rest()
    assert caught.value.exit_code is ExitCode.NOT_ALLOWED
    assert "backupexport login" in caught.value.advice


def test_who_has_only_a_moment_gets_nothing_of_kubectl() -> None:
    with pytest.raises(CliError):
        _session(kube=True, is_hurried=True).exports()


def _kept(*names: str) -> None:
    def with_them(kept: Contexts) -> Contexts:
        for name in names:
            cluster, _, namespace = name.partition("-")
            kept = kept.having(
                Context(
                    name, "",
                    kube_context=cluster, kube_namespace=namespace, kube_service="release-api",
                )
            )  # fmt: skip
        return kept

    contexts.change(with_them)


def test_an_installations_token_is_that_of_the_context_that_leads_there() -> None:
    _kept("a-one", "a-two", "b-one")
    session = _session(environment={})
    for cluster, namespace in (("a", "one"), ("a", "two"), ("b", "one")):
        token = session._bearer_in_cluster(cluster, namespace, "release-api")
        assert repr(token) == f"AccessToken('{cluster}-{namespace}')"
    given = _session()._bearer_in_cluster("a", "one", "release-api")
    assert isinstance(given, GivenToken)


@pytest.mark.parametrize(
    "there",
    [("a", "one", "other-api"), ("a", "two", "release-api"), ("b", "one", "release-api")],
    ids=["another service", "another namespace", "another cluster"],
)
def test_an_installation_without_a_token_leads_to_its_login(there: tuple[str, str, str]) -> None:
    _kept("a-one")
    with pytest.raises(CliError) as caught:
        _session(environment={})._bearer_in_cluster(*there)
    assert "--kube" in caught.value.advice


@pytest.fixture
def program(tmp_path: Path) -> FakeKubectl:
    kubectl = FakeKubectl(tmp_path)
    return kubectl.says("port-forward", out="Forwarding from 127.0.0.1:40123 ->\n", stays=True)


def test_a_context_of_kubernetes_leads_where_its_token_is_for(program: FakeKubectl) -> None:
    _kept("a-one")
    given = {"kubeconfig_context": "a", "namespace": "one"}
    for options in ({}, given):
        session = _session(environment=program.environment, **options)
        try:
            session.rest()
        finally:
            session.close()
        assert program.calls[-1]["argv"][:2] == ["--context=a", "--namespace=one"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kubeconfig_context": "b"}, "--kubeconfig-context"),
        ({"namespace": "two"}, "-n"),
        ({"namespace": "one", "release": "other"}, "--release"),
        ({"context": "a-one", "kubeconfig_context": "b", "namespace": "two"}, "-n"),
    ],
)
@pytest.mark.parametrize("token", [{}, {"BACKUPEXPORT_TOKEN": "t"}], ids=["kept", "given"])
def test_no_option_leads_a_contexts_token_elsewhere(
    program: FakeKubectl, options: dict[str, str], named: str, token: dict[str, str]
) -> None:
    _kept("a-one")
    session = _session(environment=program.environment | token, **options)
    with pytest.raises(CliError) as caught:
        session.rest()
    assert caught.value.exit_code is ExitCode.USAGE
    assert named in caught.value.message
    assert program.calls == []


def _installations(*releases: str) -> dict[str, object]:
    label = "app.kubernetes.io/instance"
    return {
        "items": [
            {"metadata": {"name": f"{each}-api", "labels": {label: each}}} for each in releases
        ]
    }


def _asks_for_one_of_two(program: FakeKubectl, **options: str) -> None:
    program.says("current-context", out="a\n").says("view", out="one")
    program.says("services", out=_installations("release", "other"))
    labels = "app.kubernetes.io/part-of=backupexport,app.kubernetes.io/component=api"
    one = f"--selector={labels},app.kubernetes.io/instance=other"
    program.says("services", one, out=_installations("other"))
    token = {"BACKUPEXPORT_TOKEN": "t"}
    session = _session(kube=True, environment=program.environment | token, **options)
    try:
        session.rest()
    finally:
        session.close()


@pytest.mark.parametrize(
    ("options", "service"),
    [({}, "release-api"), ({"release": "other"}, "other-api")],
    ids=["the current login's", "a release"],
)
def test_of_two_installations_one_is_asked(
    program: FakeKubectl, options: dict[str, str], service: str
) -> None:
    _kept("b-one", "a-one")
    _asks_for_one_of_two(program, **options)
    argv = program.calls[-1]["argv"]
    assert argv[:2] == ["--context=a", "--namespace=one"]
    assert f"service/{service}" in argv


def test_of_two_installations_a_login_elsewhere_chooses_none(program: FakeKubectl) -> None:
    _kept("b-one", "a-one")
    with pytest.raises(CliError) as caught:
        _asks_for_one_of_two(program, context="b-one")
    assert caught.value.exit_code is ExitCode.USAGE
    assert "--release: other, release" in caught.value.advice


def _link_by_a_port_forward(url: str) -> str:
    made = {"link_id": "l", "url": url, "expires_at": "2026-01-29T15:30:00.000Z"}
    body = json.dumps({"data": made}).encode()
    answering = httpx.MockTransport(
        lambda _: httpx.Response(201, stream=httpx.ByteStream(body)),
    )
    http = ApiHttp("http://127.0.0.1:40123", GivenToken("t"), transport=answering)
    try:
        return str(RestExports(http, is_forwarded=True).link("j", None)["url"])
    finally:
        http.close()


def test_a_link_by_a_port_that_ends_with_the_command_is_none() -> None:
    assert _link_by_a_port_forward(f"{URL}/links/x") == f"{URL}/links/x"
    with pytest.raises(CliError) as caught:
        _link_by_a_port_forward("/links/x")
    assert caught.value.exit_code is ExitCode.FAILED
    assert "publicUrl" in caught.value.advice
    assert "backupexport download j" in caught.value.advice


def test_a_token_of_the_environment_is_for_its_address_alone() -> None:
    _kept("a-one")
    environment = {"BACKUPEXPORT_URL": f"{URL}/", "BACKUPEXPORT_TOKEN": "t"}
    for options in ({}, {"url": URL}):
        assert _session(environment=environment, **options).chosen().token_is_given
    assert _session(url="https://other.example.com").chosen().token_is_given
    other = _session(environment=environment, url="https://other.example.com").chosen()
    assert other.bearer is None
    kube = _session(environment=environment, kube=True)
    assert repr(kube._bearer_in_cluster("a", "one", "release-api")) == "AccessToken('a-one')"
    with pytest.raises(CliError):
        kube._bearer_in_cluster("b", "one", "release-api")


def test_a_command_of_the_same_place_has_the_same_options() -> None:
    assert _session().command("watch", "x") == "backupexport watch x"
    kube = _session(kube=True, namespace="one", kubeconfig_context="a b", release="r")
    told = "backupexport --kube -n one --kubeconfig-context 'a b' --release r watch x"
    assert kube.command("watch", "x") == told
    http = _session(context="c", url="http://x", insecure_http=True)
    assert http.command("x") == "backupexport --context c --url http://x --insecure-http x"


def test_an_empty_variable_is_none() -> None:
    _kept("a-one")
    chosen = _session(environment={"BACKUPEXPORT_URL": "", "BACKUPEXPORT_TOKEN": ""}).chosen()
    assert chosen.context.name == "a-one"
