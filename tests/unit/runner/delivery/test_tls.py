"""Whom a delivery trusts: what other clients trust, whichever Python runs."""

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from backupexport_runner.delivery.tls import tls_context
from certificate_authority import Authority


@pytest.fixture(autouse=True)
def _defaults_of_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    make = ssl.create_default_context

    def strict(**options: Any) -> ssl.SSLContext:
        context = make(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


@pytest.fixture
def plain(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "Corp CA", is_plain=True)


def handshake(certificate: Path, context: ssl.SSLContext, host: str = "mail.test") -> str | None:
    """What a client with `context` says against the server's certificate."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            served.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        context.wrap_socket(here, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        here.close()
        thread.join(timeout=10)
    return None


def test_an_authority_that_openssl_makes_unless_told_more_is_trusted(plain: Authority) -> None:
    assert handshake(plain.issue("mail.test"), tls_context(plain.pem)) is None


def test_it_is_what_strict_checks_refuse(plain: Authority) -> None:
    context = ssl.create_default_context(cadata=plain.pem)
    assert handshake(plain.issue("mail.test"), context) is not None


def test_chain_name_and_dates_are_checked_as_ever(plain: Authority, tmp_path: Path) -> None:
    context = tls_context(plain.pem)
    other = Authority(tmp_path / "..", "Corp CA", is_plain=True)
    assert handshake(other.issue("mail.test"), context) is not None
    assert handshake(plain.issue("other.test"), context) is not None
    assert handshake(plain.issue("mail.test", days=-1), context) is not None


@pytest.mark.parametrize("is_given", [True, False])
def test_what_a_context_checks(plain: Authority, is_given: bool) -> None:
    context = tls_context(plain.pem if is_given else None)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
