"""What a bucket's answer means, and what to do about it.

What a server says is anybody's text: it is cut and cleaned, and decides nothing but by its code.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import httpx
from backupexport_contract.reasons import ExitCode
from backupexport_runtime.buckets import CredentialsError, NoKeysError, Problem, problem_of
from obstore.exceptions import BaseError

from backupexport_runner.task.failure import Failure, one_line

T = TypeVar("T")

_LONGEST_WORDS = 200
# The kubelet brings a Secret's new keys within two minutes; a server may take a while to know them.
_SECONDS_FOR_NEW_KEYS = 180.0
_SECONDS_BETWEEN_KEYS = 2.0
_SECONDS_TO_NOTICE = 0.2
THEN = ", then start the export again"

_FULL = {
    "AccountStorageLimitExceeded",
    "InsufficientStorage",
    "QuotaExceeded",
    "QuotaExceededException",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
_WRONG_CREDENTIALS = {
    "AuthenticationFailed",
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "SignatureDoesNotMatch",
}
_EXPIRED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
_NO_BUCKET = {"ContainerNotFound", "NoSuchBucket"}
_WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidRegion",
    "PermanentRedirect",
    "TemporaryRedirect",
}
# Of others than 5xx and 429: a request that was right may be so the next time.
_PASSING = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown"}
_CERTIFICATE = re.compile(r"certificate|UnknownIssuer", re.IGNORECASE)
_NO_IDENTITY = re.compile(
    r"credential|169\.254\.169\.254|token request|metadata\.google", re.IGNORECASE
)

_WORDS = {
    "full": "{Bucket} is full or its quota is used up: make room in it or raise the quota",
    "credentials": "{Bucket} refuses the credentials: correct the keys in the storage's Secret",
    "expired": "{Bucket} says that the credentials have expired: renew the storage's Secret",
    "bucket": "{Bucket} doesn't exist: create the bucket or correct its name",
    "region": "{Bucket} is in another region, or at another endpoint: correct region and endpoint "
    "of the storage",
    "skew": "{Bucket} and this node disagree on the time: correct the clock of the node or of the "
    "server",
    "denied": "{Bucket} forbids to {action}: allow it to the storage's credentials",
    "certificate": "The certificate of {bucket} isn't trusted: correct caCertificates of the "
    "storage or the server's certificate",
    "identity": "No credentials for {bucket} were found: give the storage a Secret (secretRef), or "
    "the pod's ServiceAccount an identity",
    "away": "{Bucket} doesn't answer, or fails for a while, and is tried again by itself: if that "
    "doesn't help, check its server and the network to it",
    "refused": "{Bucket} refuses to {action}: check the storage's settings and the server",
}
_EXIT_CODES = {
    "full": ExitCode.STORAGE_FULL,
    "expired": ExitCode.STORAGE_FALTERING,
    "skew": ExitCode.STORAGE_FALTERING,
    "identity": ExitCode.STORAGE_FALTERING,
    "away": ExitCode.STORAGE_FALTERING,
}


class RefusedFailure(Failure):
    """The credentials are refused, or there are none that can be used."""


@dataclass(slots=True)
class BucketErrors:
    """Makes failures of errors; `bucket` is the bucket's URL, for the sentences.

    Once a request has worked, refused credentials are ones that are being replaced: that passes.
    """

    bucket: str
    is_hasty: Callable[[], bool] = lambda: False
    _has_worked: bool = field(default=False, init=False)
    # When waiting for new keys ends, a time of the monotonic clock.
    _until: float | None = field(default=None, init=False)

    def patiently(self, ask: Callable[[], T], check: Callable[[], None] = lambda: None) -> T:
        """Returns what `ask` returns; it is asked again while the credentials are being replaced.

        Raises what `ask` and `check` raise.
        """
        while True:
            try:
                answer = ask()
            except RefusedFailure:
                now = time.monotonic()
                if self._until is None:
                    self._until = now + _SECONDS_FOR_NEW_KEYS
                if not self._has_worked or now >= self._until:
                    raise
                while time.monotonic() < now + _SECONDS_BETWEEN_KEYS:
                    check()
                    if self.is_hasty():
                        raise
                    time.sleep(_SECONDS_TO_NOTICE)
            else:
                self._has_worked, self._until = True, None
                return answer

    def failure(self, problem: Problem, action: str) -> Failure:
        """Returns the failure; `action` is what was forbidden, such as "write (s3:PutObject)"."""
        kind = kind_of(problem)
        if not self.bucket.startswith("s3:"):
            # The permission's name is Amazon's.
            action = action.partition(" (")[0]
        advice = _WORDS[kind].format(
            Bucket=f"The bucket {self.bucket}", bucket=f"the bucket {self.bucket}", action=action
        )
        told = filter(None, (str(problem.status or ""), problem.code, problem.message))
        words = one_line(" ".join(told), _LONGEST_WORDS)
        exit_code = _EXIT_CODES.get(kind, ExitCode.STORAGE_UNWRITABLE)
        if kind in ("credentials", "expired"):
            return self._refused(exit_code, f"{advice}{THEN} ({words}).")
        return Failure(exit_code, f"{advice}{THEN} ({words}).")

    def _refused(self, exit_code: ExitCode, message: str) -> Failure:
        return RefusedFailure(
            ExitCode.STORAGE_FALTERING if self._has_worked else exit_code, message
        )

    def not_found(self, error: FileNotFoundError, action: str) -> Failure:
        """Returns the failure where nothing of the bucket can be missing but itself."""
        return self.failure(replace(problem_of(error), code="NoSuchBucket"), action)

    def require_bucket(self, error: FileNotFoundError) -> None:
        """Raises Failure if not the object, but the bucket isn't there."""
        if kind_of(problem_of(error)) == "bucket":
            raise self.failure(problem_of(error), "read") from None

    @contextlib.contextmanager
    def told(self, action: str, known: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Raises Failure of every error of obstore, httpx or the credentials within the context.

        Those that are `known` go through.  Where an object is not there, the bucket is not.
        """
        try:
            yield
        except CredentialsError as error:
            has_none = isinstance(error, NoKeysError)
            raise self._refused(
                ExitCode.SECRET_MISSING if has_none else ExitCode.STORAGE_UNWRITABLE,
                f"The Secret of the storage {self.bucket} can't be used: {error}: correct it{THEN}"
                ".",
            ) from None
        except known:
            raise
        except FileNotFoundError as error:
            raise self.not_found(error, action) from None
        except httpx.HTTPError as error:
            words = str(error) or type(error).__name__
            raise self.failure(Problem(None, "", words), action) from None
        except BaseError as error:
            problem = problem_of(error)
            if problem.status is None and _CERTIFICATE.search(str(error)):
                problem = Problem(None, "", "invalid peer certificate")
            raise self.failure(problem, action) from None


def kind_of(problem: Problem) -> str:
    """Returns which kind of problem it is, a key of the words."""
    status, code = problem.status, problem.code
    for kind, codes in (
        ("full", _FULL),
        ("credentials", _WRONG_CREDENTIALS),
        ("expired", _EXPIRED),
        ("bucket", _NO_BUCKET),
        ("region", _WRONG_REGION),
        ("skew", {"RequestTimeTooSkewed"}),
        ("away", _PASSING),
    ):
        if code in codes:
            return kind
    if status is None:
        if _CERTIFICATE.search(problem.message):
            return "certificate"
        return "identity" if _NO_IDENTITY.search(problem.message) else "away"
    by_status = {301: "region", 307: "region", 401: "credentials", 403: "denied", 507: "full"}
    if status in by_status:
        return by_status[status]
    return "away" if status in (408, 429) or (status >= 500 and status != 501) else "refused"
