"""Settings: where they come from, what is wrong with them, and that no secret is shown."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from backupexport_api import __main__ as program
from backupexport_api.audit import trail
from backupexport_api.kube.client import KubernetesObjects
from backupexport_api.settings import ApiSettings
from backupexport_runtime import logs
from backupexport_runtime.settings_errors import complaints
from pydantic import ValidationError
from token_issuers import Issuer

Make = Callable[..., Any]

RSA, EC = Issuer.of("RS256"), Issuer.of("ES256")
RS256 = {"JWT_ALGORITHMS": "RS256", "JWT_SECRET": "", "JWT_AUDIENCE": "exports"}
JWKS = {**RS256, "JWT_JWKS_URL": "https://issuer.example/keys"}
CLIENT = {"LOGIN_CLIENT_ID": "cli"}
LOGIN = {**CLIENT, "LOGIN_ISSUER": "https://issuer.example"}
NO_AUDIENCE = "BACKUPEXPORT_JWT_AUDIENCE: is required with"
USELESS = "is of no use: BACKUPEXPORT_JWT_ALGORITHMS names n"


def test_defaults(make_settings: Make) -> None:
    settings = make_settings()
    assert settings.jwt_algorithms == ("HS256",)
    assert settings.jwt_projects_claim == "projects"
    # Who forgets a setting has given nothing away.
    assert settings.tokens_without_projects == "none"
    assert (settings.jwt_audience, settings.jwt_any_audience) == (None, False)
    assert (settings.jwt_type, settings.jwt_leeway_seconds) == (None, 5)
    assert (settings.export_rate_limit, settings.read_rate_limit) == ("10/minute", "600/minute")
    assert (settings.host, settings.port, settings.log_level) == ("0.0.0.0", 8080, "info")


def test_the_file_wins(make_settings: Make, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("f" * 32 + "\n")
    settings = make_settings(JWT_SECRET_FILE=str(file))
    assert settings.jwt_secret.get_secret_value() == "f" * 32


def test_the_file_of_public_keys_wins(make_settings: Make, tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(RSA.pem() + EC.pem())
    settings = make_settings(
        JWT_ALGORITHMS=" RS256, ES256,RS256",
        JWT_SECRET="",
        JWT_PUBLIC_KEY_FILE=str(file),
        JWT_AUDIENCE="exports",
    )
    assert settings.jwt_algorithms == ("RS256", "ES256")
    assert settings.jwt_public_key.strip() == file.read_text().strip()


def test_keys_from_a_url(make_settings: Make) -> None:
    settings = make_settings(**JWKS)
    assert settings.jwt_jwks_url == "https://issuer.example/keys"
    assert (settings.jwt_jwks_refresh_seconds, settings.jwt_jwks_max_age_seconds) == (60, 3600)


def test_any_audience_will_do_where_that_is_said(make_settings: Make) -> None:
    settings = make_settings(**JWKS | {"JWT_AUDIENCE": "", "JWT_ANY_AUDIENCE": "true"})
    assert settings.jwt_audience is None


def test_people_log_in_at_the_tokens_issuer_unless_another_is_said(make_settings: Make) -> None:
    issuer = {"JWT_ISSUER": "https://issuer.example/"}
    assert make_settings(**issuer).login_issuer is None
    settings = make_settings(**issuer, **CLIENT)
    assert settings.login_issuer == "https://issuer.example/"
    assert settings.login_scopes == ("openid",)
    other = make_settings(**issuer, **CLIENT, LOGIN_ISSUER="http://127.0.0.1:5556/dex")
    assert other.login_issuer == "http://127.0.0.1:5556/dex"


def test_a_shared_secret_is_for_nobody_else(make_settings: Make) -> None:
    assert make_settings().jwt_audience is None


def test_an_empty_variable_is_an_unset_one(make_settings: Make) -> None:
    assert make_settings(JWT_ISSUER="").jwt_issuer is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"JWT_SECRET": "hunter2"}, "BACKUPEXPORT_JWT_SECRET: is too short: 7 bytes"),
        ({"JWT_SECRET": "ü" * 15}, "BACKUPEXPORT_JWT_SECRET: is too short: 30 bytes"),
        ({"JWT_SECRET": ""}, "BACKUPEXPORT_JWT_SECRET: is required"),
        (
            {"JWT_SECRET": "-----BEGIN PUBLIC KEY-----\nhunter2hunter2\n-----END PUBLIC KEY-----"},
            "BACKUPEXPORT_JWT_SECRET: must be a random text",
        ),
        ({"JWT_SECRET_FILE": "/nowhere"}, "BACKUPEXPORT_JWT_SECRET: can't read /nowhere"),
        ({"JWT_ALGORITHMS": "none"}, "BACKUPEXPORT_JWT_ALGORITHMS: "),
        ({"JWT_ALGORITHMS": "HS256,ES256K"}, "BACKUPEXPORT_JWT_ALGORITHMS: "),
        ({"JWT_ALGORITHMS": ","}, "BACKUPEXPORT_JWT_ALGORITHMS: "),
        (
            {"JWT_ALGORITHMS": "HS256,HS512", "JWT_SECRET": "hunter2" * 9},
            "BACKUPEXPORT_JWT_SECRET: is too short: 63 bytes, and HS512",
        ),
        ({"JWT_SECRET": RSA.pem()}, "BACKUPEXPORT_JWT_SECRET: must be a random text"),
        (
            {"JWT_SECRET": "hunter2-hunter2-hunter2-hunter2\udcff"},
            "BACKUPEXPORT_JWT_SECRET: must be",
        ),
        ({**JWKS, "JWT_SECRET": "hunter2" * 9}, f"BACKUPEXPORT_JWT_SECRET: {USELESS}"),
        ({"JWT_PUBLIC_KEY": RSA.pem()}, f"BACKUPEXPORT_JWT_PUBLIC_KEY: {USELESS}"),
        ({"JWT_PUBLIC_KEY_FILE": "/nowhere"}, "BACKUPEXPORT_JWT_PUBLIC_KEY: can't read /nowhere"),
        ({**RS256, "JWT_PUBLIC_KEY": "hunter2"}, "BACKUPEXPORT_JWT_PUBLIC_KEY: must be whole"),
        ({**RS256, "JWT_PUBLIC_KEY": EC.pem()}, "BACKUPEXPORT_JWT_PUBLIC_KEY: key 1 (EC, "),
        (RS256, "BACKUPEXPORT_JWT_JWKS_URL: is required for RS256"),
        (
            {"JWT_ALGORITHMS": "HS256,ES256", "JWT_AUDIENCE": "exports"},
            "BACKUPEXPORT_JWT_JWKS_URL: is required for ES256",
        ),
        ({"JWT_JWKS_URL": JWKS["JWT_JWKS_URL"]}, f"BACKUPEXPORT_JWT_JWKS_URL: {USELESS}"),
        (
            {**JWKS, "JWT_PUBLIC_KEY": RSA.pem()},
            "BACKUPEXPORT_JWT_JWKS_URL: can't be given together",
        ),
        ({**JWKS, "JWT_JWKS_URL": "file:///hunter2"}, "BACKUPEXPORT_JWT_JWKS_URL: must be a URL"),
        ({**JWKS, "JWT_JWKS_URL": "hunter2"}, "BACKUPEXPORT_JWT_JWKS_URL: must be a URL"),
        ({**JWKS, "JWT_JWKS_URL": "https://"}, "BACKUPEXPORT_JWT_JWKS_URL: "),
        ({**JWKS, "JWT_JWKS_URL": "https://[hunter2/"}, "BACKUPEXPORT_JWT_JWKS_URL: "),
        ({**JWKS, "JWT_JWKS_URL": "https://a:b@c/"}, "BACKUPEXPORT_JWT_JWKS_URL: must not hold"),
        (
            {**JWKS, "JWT_JWKS_REFRESH_SECONDS": "0"},
            "BACKUPEXPORT_JWT_JWKS_REFRESH_SECONDS: ",
        ),
        (
            {**JWKS, "JWT_JWKS_MAX_AGE_SECONDS": "60"},
            "BACKUPEXPORT_JWT_JWKS_MAX_AGE_SECONDS: must be more than",
        ),
        ({**JWKS, "JWT_AUDIENCE": ""}, f"{NO_AUDIENCE} RS256"),
        ({**RS256, "JWT_PUBLIC_KEY": RSA.pem(), "JWT_AUDIENCE": ""}, f"{NO_AUDIENCE} RS256"),
        (
            {"JWT_ALGORITHMS": "HS256,EdDSA", "JWT_JWKS_URL": "https://issuer.example/keys"},
            f"{NO_AUDIENCE} EdDSA",
        ),
        ({**JWKS, "JWT_AUDIENCE": "", "JWT_ANY_AUDIENCE": "false"}, f"{NO_AUDIENCE} RS256"),
        (
            {**JWKS, "JWT_ANY_AUDIENCE": "true"},
            "BACKUPEXPORT_JWT_AUDIENCE: can't be given together with BACKUPEXPORT_JWT_ANY_AUDIENCE",
        ),
        ({"JWT_TYPE": "at+jwt; x=1"}, "BACKUPEXPORT_JWT_TYPE: must be a media type"),
        ({"JWT_TYPE": "a/b/c"}, "BACKUPEXPORT_JWT_TYPE: must be a media type"),
        ({"JWT_LEEWAY_SECONDS": "-1"}, "BACKUPEXPORT_JWT_LEEWAY_SECONDS: "),
        ({"JWT_LEEWAY_SECONDS": "301"}, "BACKUPEXPORT_JWT_LEEWAY_SECONDS: "),
        (CLIENT, "BACKUPEXPORT_LOGIN_ISSUER: is required with BACKUPEXPORT_LOGIN_CLIENT_ID"),
        (
            {**CLIENT, "JWT_ISSUER": "hunter2"},
            "BACKUPEXPORT_LOGIN_ISSUER: must be a URL that starts",
        ),
        ({**LOGIN, "LOGIN_ISSUER": "ftp://hunter2"}, "BACKUPEXPORT_LOGIN_ISSUER: must be a URL"),
        ({**LOGIN, "LOGIN_ISSUER": "https://a:hunter2@b"}, "BACKUPEXPORT_LOGIN_ISSUER: must not"),
        ({**LOGIN, "LOGIN_ISSUER": "https://a?hunter2"}, "BACKUPEXPORT_LOGIN_ISSUER: must hold"),
        ({**LOGIN, "LOGIN_ISSUER": "https://a#hunter2"}, "BACKUPEXPORT_LOGIN_ISSUER: must hold"),
        ({**LOGIN, "LOGIN_ISSUER": "https://a/b c"}, "BACKUPEXPORT_LOGIN_ISSUER: must hold"),
        (
            {"LOGIN_ISSUER": "https://issuer.example"},
            "BACKUPEXPORT_LOGIN_ISSUER: is of no use without BACKUPEXPORT_LOGIN_CLIENT_ID",
        ),
        (
            {"LOGIN_AUDIENCE": "hunter2"},
            "BACKUPEXPORT_LOGIN_AUDIENCE: is of no use without BACKUPEXPORT_LOGIN_CLIENT_ID",
        ),
        ({**LOGIN, "LOGIN_AUDIENCE": "ä"}, "BACKUPEXPORT_LOGIN_AUDIENCE: must be printable"),
        ({**LOGIN, "LOGIN_CLIENT_ID": "a\nb"}, "BACKUPEXPORT_LOGIN_CLIENT_ID: must be printable"),
        ({**LOGIN, "LOGIN_SCOPES": 'open"id'}, "BACKUPEXPORT_LOGIN_SCOPES: must be scopes"),
        ({**LOGIN, "LOGIN_SCOPES": " "}, "BACKUPEXPORT_LOGIN_SCOPES: "),
        ({"NAMESPACE": ""}, "BACKUPEXPORT_NAMESPACE: is required"),
        ({"EXPORT_RATE_LIMIT": "often"}, "BACKUPEXPORT_EXPORT_RATE_LIMIT: must be a rate"),
        ({"READ_RATE_LIMIT": "0/minute"}, "BACKUPEXPORT_READ_RATE_LIMIT: must allow"),
        ({"PORT": "http"}, "BACKUPEXPORT_PORT: "),
        ({"TOKENS_WITHOUT_PROJECTS": "some"}, "BACKUPEXPORT_TOKENS_WITHOUT_PROJECTS: "),
        ({"LOG_FORMAT": "xml"}, "BACKUPEXPORT_LOG_FORMAT: "),
        (
            {"RATE_LIMIT_STORAGE_URL": "nonsense://:hunter2@x"},
            "BACKUPEXPORT_RATE_LIMIT_STORAGE_URL: ",
        ),
    ],
)
def test_a_mistake_stops_the_program(
    make_settings: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    words: Any,
) -> None:
    with suppress(ValidationError):  # the storage's URL is only looked at when it is used
        make_settings(**environment)
    monkeypatch.setattr(program, "connect_lists", Mock())
    monkeypatch.setattr(KubernetesObjects, "connect", AsyncMock())
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setattr(trail, "configure", lambda: None)
    assert program.main() == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"backupexport-api: {words}")
    assert shown.count("\n") == 1
    assert "hunter2" not in shown


def test_every_mistake_is_told(make_settings: Make) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(PORT="0", JWT_SECRET="short", LOG_LEVEL="loud")
    assert len(complaints(caught.value)) == 3


def test_pydantic_s_own_message_hides_the_value(make_settings: Make) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(JWT_SECRET="hunter2", PORT="hunter2")
    assert "hunter2" not in str(caught.value)


def test_secrets_are_hidden(make_settings: Make, secret: Any) -> None:
    settings = make_settings(RATE_LIMIT_STORAGE_URL="memory://")
    assert secret not in repr(settings)
    assert secret not in settings.model_dump_json()


def test_settings_are_frozen(make_settings: Make) -> None:
    settings = make_settings()
    with pytest.raises(ValidationError):
        settings.port = 1


def test_every_setting_is_described() -> None:
    assert all(field.description for field in ApiSettings.model_fields.values())
