"""What all tests have in common."""

import secrets
import signal
from collections.abc import Iterator

import pytest
import s3_server as s3
from hypothesis import settings
from s3_client import Bucket

# What a shell runs in the background ignores Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines here are half as fast as others, and busy: how long an example took says nothing.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session", params=s3.KINDS)
def s3_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[s3.S3Server]:
    """A server of this process, for buckets of many tests: one of each kind, in turn.

    A test of one kind has @pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True).
    """
    with s3.s3_server(tmp_path_factory.mktemp("s3") / "server", request.param) as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: s3.S3Server) -> Iterator[Bucket]:
    """An empty bucket of the test's own."""
    with s3_server.client() as client:
        yield client.bucket(f"test-{secrets.token_hex(6)}").make()
