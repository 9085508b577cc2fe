"""What kubectl says when it fails, as errors of this command line; pure.

Kubectl has no other interface for errors than its words, which no version translates.  They follow
k8s.io/kubectl, pkg/cmd/util/helpers.go, and k8s.io/apimachinery, pkg/util/validation/field.
"""

import re
from dataclasses import dataclass

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output.clean import clean

_MOST_OF_A_LINE = 500
_MOST_FIELDS = 20

_CHECK = "Check with: kubectl get --raw /readyz"
_LOGIN = "Log in to the cluster again, or choose another context with --kubeconfig-context."
_RIGHTS = "Ask the cluster's administrators for this right, or name another namespace with -n."
_CONTEXTS = "Choose a context that `kubectl config get-contexts` lists with --kubeconfig-context."


class KubectlError(CliError):
    """A kubectl that failed."""

    def __init__(
        self, exit_code: ExitCode, message: str, advice: str = "", *, reason: str = ""
    ) -> None:
        """`reason` is the API server's word, such as NotFound; empty where it gave none."""
        super().__init__(exit_code, message, advice, code=reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Sort:
    """What kubectl may say, and what becomes of it; `{}` is what it said, without its prefix."""

    pattern: str
    exit_code: ExitCode
    message: str
    advice: str
    reason: str = ""


_UNREACHABLE, _DENIED = ExitCode.UNREACHABLE, ExitCode.NOT_ALLOWED
_SORTS = (
    # Kubectl's own default where it finds no kubeconfig.
    _Sort(
        r"connection to the server localhost:8080 was refused",
        _DENIED,
        "kubectl knows of no cluster.",
        "Give it a kubeconfig (KUBECONFIG or ~/.kube/config), or leave --kube out.",
    ),
    _Sort(
        r"context was not found|context \"[^\"]*\" does not exist|no context exists",
        _DENIED,
        "The kubeconfig has no such context.",
        _CONTEXTS,
    ),
    _Sort(
        r"Error in configuration|[Ii]nvalid configuration|error loading config file"
        r"|no configuration has been provided|couldn't get version/kind",
        _DENIED,
        "kubectl can't use its kubeconfig: {}",
        "Mend the file that KUBECONFIG names (else ~/.kube/config).",
    ),
    _Sort(
        r"You must be logged in|getting credentials|\(Unauthorized\)|Unauthorized$",
        _DENIED,
        "The cluster does not take the credentials of the kubeconfig: {}",
        _LOGIN,
        "Unauthorized",
    ),
    _Sort(
        r"the server doesn't have a resource type|no matches for kind|could not find the requested",
        ExitCode.NOT_FOUND,
        "This cluster has no BackupExports.",
        "Install the chart backupexport there, or choose another with --kubeconfig-context.",
        "NoResource",
    ),
    _Sort(
        r"\(NotFound\).*namespaces \"",
        ExitCode.NOT_FOUND,
        "There is no such namespace: {}",
        "Name the namespace of the installation with -n.",
        "NoNamespace",
    ),
    _Sort(
        r"because it is being terminated",
        _UNREACHABLE,
        "The namespace is being deleted: {}",
        "Name another namespace with -n.",
        "Forbidden",
    ),
    _Sort(r"\(Forbidden\)", _DENIED, "Kubernetes does not allow it: {}", _RIGHTS, "Forbidden"),
    _Sort(
        r"\(NotFound\)|not found$",
        ExitCode.NOT_FOUND,
        "Kubernetes has no such thing: {}",
        "List the exports with: backupexport --kube jobs",
        "NotFound",
    ),
    _Sort(
        r"\(AlreadyExists\)",
        ExitCode.FAILED,
        "There is one of this name: {}",
        "Choose another name.",
        "AlreadyExists",
    ),
    _Sort(
        r"\(Conflict\)",
        ExitCode.FAILED,
        "It was changed meanwhile: {}",
        "Look at it again before you repeat this.",
        "Conflict",
    ),
    _Sort(
        r"strict decoding error|error validating data",
        ExitCode.USAGE,
        "The BackupExports of this cluster have no such field: {}",
        "Leave it out, or upgrade the chart.",
        "BadRequest",
    ),
    _Sort(
        r"\(BadRequest\)|field label not supported",
        ExitCode.USAGE,
        "Kubernetes does not understand it: {}",
        "Say it another way, or upgrade the chart.",
        "BadRequest",
    ),
    _Sort(
        r"x509:|certificate",
        _UNREACHABLE,
        "The cluster's certificate is not good for the kubeconfig: {}",
        "Fetch the kubeconfig again, and look at this machine's clock.",
    ),
    _Sort(
        r"was refused|Unable to connect|i/o timeout|deadline exceeded|no such host|timed out"
        r"|TLS handshake|connection reset|\bEOF\b|http2: |Client\.Timeout|no route to host"
        r"|network is unreachable|unable to forward port|lost connection|request canceled"
        r"|broken pipe|use of closed|forcibly closed|server closed idle connection",
        _UNREACHABLE,
        "The cluster can't be reached: {}",
        _CHECK,
    ),
    _Sort(
        r"\((?:TooManyRequests|ServiceUnavailable|Timeout|ServerTimeout|InternalError|Expired)\)"
        r"|currently unable to handle|Internal error occurred",
        _UNREACHABLE,
        "Kubernetes can't serve this for now: {}",
        "Try again in a minute.",
        "ServiceUnavailable",
    ),
)

# Of the log that kubectl writes between its words: klog's, and what API servers warn of.
_ASIDE = re.compile(r"^(?:[EWIF]\d{4} [\d:.]+ |Warning: )")
_PREFIX = re.compile(
    r"^(?:error: |Error from server(?: \(\w+\))?: |Unable to connect to the server: )+"
    r"(?:error when (?:creating|patching|retrieving) .{0,300}?: )?"
)
_QUESTION = " - did you specify the right host or port?"
_INVALID = re.compile(r'^The \S+ "[^"]*" is invalid:\s*(.*)', re.DOTALL)
# A field, and what is wrong with it; the value stands between the two, as Go quotes it.
_CAUSE = re.compile(
    r"^(?P<field>[\w.\[\]<>-]+): (?:(?P<kind>[A-Z][a-z]+(?: [a-z]+)?)"
    r'(?:: (?:"(?:[^"\\]|\\.)*"|[^":]+?))?: )?(?P<said>.*)$',
    re.DOTALL,
)


def failure(words: str) -> KubectlError:
    """Return the error that a kubectl with these words on stderr stands for."""
    lines = [line.strip() for line in words.splitlines()]
    lines = [line for line in lines if line and not _ASIDE.match(line)]
    told = "\n".join(lines)
    invalid = _INVALID.match(told)
    if invalid:
        return KubectlError(
            ExitCode.USAGE,
            f"The export is not as it must be: {_causes(invalid[1])}.",
            "Change what is named, and try again.",
            reason="Invalid",
        )
    for sort in _SORTS:
        line = next((line for line in lines if re.search(sort.pattern, line)), None)
        if line is not None:
            message = sort.message.replace("{}", _sentence(line))
            return KubectlError(sort.exit_code, message, sort.advice, reason=sort.reason)
    said = _sentence(lines[-1]) if lines else "it said nothing."
    return KubectlError(ExitCode.FAILED, f"kubectl has failed: {said}", _CHECK)


def _causes(text: str) -> str:
    """Return what is wrong with which field, in the spelling of REST."""
    # A value may hold line breaks, which Go quotes: a line is a cause.
    lines = [line.removeprefix("* ") for line in text.splitlines() if line.strip()]
    told = list(dict.fromkeys(_cause(line) for line in lines[:_MOST_FIELDS]))
    return "; ".join(told) if told else "Kubernetes does not say why"


def _cause(line: str) -> str:
    found = _CAUSE.match(line)
    if found is None:
        return clean(line, _MOST_OF_A_LINE)
    field = re.sub(r"([A-Z])", lambda it: f"_{it[1].lower()}", found["field"])
    field = field.removeprefix("spec.")
    said = found["said"]
    if found["kind"] == "Required value" or said == "Required value":
        return f"{clean(field, 100)} is required"
    return f"{clean(field, 100)}: {clean(said, _MOST_OF_A_LINE).rstrip('.')}"


def _sentence(line: str) -> str:
    said = clean(_PREFIX.sub("", line).partition(_QUESTION)[0], _MOST_OF_A_LINE).strip()
    return said if said.endswith((".", "?", "!")) else f"{said}."
