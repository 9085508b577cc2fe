"""What is said where there is no token, or none that is good any more."""

from dataclasses import replace

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login import contexts
from backupexport_cli.login.access import AccessToken
from backupexport_cli.login.contexts import Context
from backupexport_cli.login.keyrings import Keyring
from backupexport_cli.login.private_files import write_json
from backupexport_cli.login.token_store import TokenStore
from backupexport_cli.login.tokens import Origin, Tokens
from backupexport_cli.session import GlobalOptions, Session

BY_ADDRESS = Context("here", "https://exports.example")
IN_CLUSTER = Context(
    "mine", "", kube_context="kind-test", kube_namespace="exports", kube_service="demo-api"
)
AGAIN = "backupexport --kube -n exports login --kubeconfig-context kind-test --name mine"


def test_what_kubernetes_made_is_made_again_by_this_command() -> None:
    TokenStore().put("mine", Tokens("ended", IN_CLUSTER.place))
    access = AccessToken(IN_CLUSTER)
    assert access.value() == "ended"
    with pytest.raises(CliError) as caught:
        access.refresh()
    assert caught.value.exit_code is ExitCode.NOT_ALLOWED
    assert caught.value.code == "token_invalid"
    assert caught.value.advice == f"Make a new one: {AGAIN}"


def test_of_another_token_the_server_says_what_is_wrong() -> None:
    TokenStore().put("here", Tokens("ended", BY_ADDRESS.place))
    assert not AccessToken(BY_ADDRESS).refresh()


@pytest.mark.parametrize(
    ("context", "command"), [(BY_ADDRESS, "backupexport login"), (IN_CLUSTER, AGAIN)]
)
def test_without_a_token_there_is_a_command_for_one(context: Context, command: str) -> None:
    with pytest.raises(CliError, match="There is no token") as caught:
        AccessToken(context).value()
    assert caught.value.advice == f"Log in with `{command}`."


def test_a_name_of_any_form_is_one_word_of_the_command() -> None:
    context = replace(IN_CLUSTER, kube_context="of me; rm", name="a")
    assert "--kubeconfig-context 'of me; rm' --name a" in context.login_command


def test_in_a_hurry_nothing_is_renewed() -> None:
    # Its issuer could not be asked.
    origin = Origin("cli", "http://127.0.0.1:1/token")
    TokenStore().put("here", Tokens("ended", BY_ADDRESS.place, "R1", origin))
    with pytest.raises(CliError):
        AccessToken(BY_ADDRESS).refresh()
    assert not AccessToken(BY_ADDRESS, is_hurried=True).refresh()


def test_in_a_hurry_a_keyring_has_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def of_system(seconds: float = 30.0) -> None:
        given.append(seconds)

    monkeypatch.setattr(Keyring, "of_system", of_system)
    store = TokenStore(keyring=lambda: None)
    store.put("here", Tokens("kept", BY_ADDRESS.place))
    write_json(store.file, {"here": "keyring"})
    with pytest.raises(CliError, match="keyring"):
        AccessToken(BY_ADDRESS, is_hurried=True).value()
    assert given == [1.0]


def test_a_shell_that_completes_is_in_a_hurry() -> None:
    contexts.change(lambda kept: kept.having(BY_ADDRESS))
    origin = Origin("cli", "http://127.0.0.1:1/token")
    TokenStore().put("here", Tokens("ended", BY_ADDRESS.place, "R1", origin))
    bearer = Session(GlobalOptions(is_hurried=True, environment={})).chosen().bearer
    assert bearer is not None
    assert not bearer.refresh()
