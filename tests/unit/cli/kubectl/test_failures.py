"""What kubectl says becomes an exit code and two sentences: a table of recorded words."""

import pytest
from backupexport_cli.errors import ExitCode
from backupexport_cli.kubectl.failures import failure

_REFUSED = (
    'E1129 21:41:40.505342   26279 memcache.go:265] "Unhandled Error" err="couldn\'t get current '
    'server API group list: Get \\"http://{0}/api?timeout=32s\\": dial tcp {0}: connect: '
    'connection refused"\n'
    "The connection to the server {0} was refused - did you specify the right host or port?\n"
)
_BEX = "backupexports.backupexport.dev"

RECORDED = {
    "no kubeconfig": (_REFUSED.format("localhost:8080"), 3, "", "knows of no cluster"),
    "no such context": (
        "Error in configuration: context was not found for specified context: nope\n", 3, "",
        "no such context",
    ),
    "a broken kubeconfig": (
        'error: error loading config file "/x": yaml: line 2: mapping values are not allowed\n',
        3, "", "can't use its kubeconfig",
    ),
    "logged out": (
        "error: You must be logged in to the server (the server has asked for the client to "
        "provide credentials)\n", 3, "Unauthorized", "does not take the credentials",
    ),
    "a plugin that is missing": (
        "Unable to connect to the server: getting credentials: exec: executable gke-gcloud-auth "
        "not found\n", 3, "Unauthorized", "executable gke-gcloud-auth not found",
    ),
    "forbidden": (
        f'Error from server (Forbidden): {_BEX} is forbidden: User "eve" cannot list resource '
        '"backupexports" in API group "backupexport.dev" in the namespace "team"\n',
        3, "Forbidden", 'User "eve" cannot list resource',
    ),
    "forbidden to create": (
        f'Error from server (Forbidden): error when creating "STDIN": {_BEX} is forbidden: User '
        '"eve" cannot create resource "backupexports"\n', 3, "Forbidden", f"it: {_BEX} is",
    ),
    "a namespace that ends": (
        f'Error from server (Forbidden): error when creating "STDIN": {_BEX} "a" is forbidden: '
        "unable to create new content in namespace team because it is being terminated\n",
        5, "Forbidden", "being deleted",
    ),
    "not found": (f'Error from server (NotFound): {_BEX} "a" not found\n', 4, "NotFound", '"a"'),
    "no namespace": (
        'Error from server (NotFound): error when creating "STDIN": namespaces "team" not found\n',
        4, "NoNamespace", 'no such namespace: namespaces "team" not found.',
    ),
    "no CRD": (
        "error: the server doesn't have a resource type \"backupexports\"\n", 4, "NoResource",
        "has no BackupExports",
    ),
    "no CRD to create of": (
        'error: resource mapping not found for name: "a" namespace: "" from "STDIN": no matches '
        'for kind "BackupExport" in version "backupexport.dev/v1alpha1"\nensure CRDs are '
        "installed first\n", 4, "NoResource", "has no BackupExports",
    ),
    "already there": (
        f'Error from server (AlreadyExists): error when creating "STDIN": {_BEX} "a" already '
        "exists\n", 1, "AlreadyExists", "already exists",
    ),
    "changed meanwhile": (
        f'Error from server (Conflict): Operation cannot be fulfilled on {_BEX} "a": the UID in '
        "the precondition (x) does not match the UID in record (y).\n", 1, "Conflict", "meanwhile",
    ),
    "refused": (_REFUSED.format("10.0.0.1:6443"), 5, "", "10.0.0.1:6443 was refused"),
    "no such host": (
        "Unable to connect to the server: dial tcp: lookup k8s.example.com: no such host\n",
        5, "", "lookup k8s.example.com: no such host.",
    ),
    "a silent host": (
        "Unable to connect to the server: net/http: request canceled while waiting for connection "
        "(Client.Timeout exceeded while awaiting headers)\n", 5, "", "can't be reached",
    ),
    "a connection that is cut": (
        'error: error when creating "STDIN": Post "https://10.0.0.1:6443/apis/backupexport.dev'
        '/v1alpha1/namespaces/team/backupexports?fieldManager=kubectl-create": EOF\n',
        5, "", 'backupexports?fieldManager=kubectl-create": EOF.',
    ),
    "a connection that ended before": (
        'error: error when creating "STDIN": Post "https://10.0.0.1:6443/apis": write tcp '
        "10.0.0.2:41000->10.0.0.1:6443: write: broken pipe\n", 5, "", "broken pipe.",
    ),
    "a request that was given up": (
        'error: error when creating "STDIN": Post "https://10.0.0.1:6443/apis": net/http: request '
        "canceled\n", 5, "", "request canceled.",
    ),
    "a connection that is over": (
        'error: error when creating "STDIN": Post "https://10.0.0.1:6443/apis": read tcp '
        "10.0.0.2:41000->10.0.0.1:6443: use of closed network connection\n", 5, "", "use of closed",
    ),
    "another's certificate": (
        "Unable to connect to the server: tls: failed to verify certificate: x509: certificate "
        "signed by unknown authority\n", 5, "", "not good for the kubeconfig",
    ),
    "a server that starts": (
        "Error from server (ServiceUnavailable): the server is currently unable to handle the "
        "request\n", 5, "ServiceUnavailable", "for now",
    ),
    "too many requests": (
        "Error from server (TooManyRequests): the server has received too many requests and has "
        "asked us to try again later\n", 5, "ServiceUnavailable", "for now",
    ),
    "no pod to forward to": (
        "error: unable to forward port because pod is not running. Current status=Pending\n",
        5, "", "Current status=Pending",
    ),
    "no pod in time": (
        "error: timed out waiting for the condition\n", 5, "", "timed out",
    ),
    "a field that is unknown": (
        'Error from server (BadRequest): error when creating "STDIN": BackupExport in version '
        '"v1alpha1" cannot be handled as a BackupExport: strict decoding error: unknown field '
        '"spec.verify"\n', 2, "BadRequest", 'unknown field "spec.verify"',
    ),
    "anything else": ("Warning: old\nerror: it rains\n", 1, "", "kubectl has failed: it rains."),
    "nothing": ("", 1, "", "kubectl has failed: it said nothing."),
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "exit_code", "reason", "part"), RECORDED.values(), ids=RECORDED.keys()
)
def test_it_is_told_by_its_sort(words: str, exit_code: int, reason: str, part: str) -> None:
    error = failure(words)
    assert (error.exit_code, error.reason) == (exit_code, reason)
    assert part in error.message
    assert error.message.endswith(".")
    assert error.advice
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        (
            'spec.projectId: Invalid value: "a b": must be 1 to 100 characters from A-Z\n',
            "project_id: must be 1 to 100 characters from A-Z",
        ),
        (
            '\n* spec.storagePath: Invalid value: "a\\": /b": must be relative: drop the leading '
            '/\n* spec.format: Unsupported value: "plain": supported values: "sql", "tar"\n',
            "storage_path: must be relative: drop the leading /; "
            'format: supported values: "sql", "tar"',
        ),
        ("spec.projectId: Required value\n", "project_id is required"),
        (
            "spec.projectId: Too long: may not be more than 100 bytes\n",
            "project_id: may not be more than 100 bytes",
        ),
        (
            "spec.excludeSchemas: Too many: 101: must have at most 100 items\n",
            "exclude_schemas: must have at most 100 items",
        ),
        (
            'spec.includeTables[0]: Invalid value: "string": must not contain control characters\n',
            "include_tables[0]: must not contain control characters",
        ),
        (
            'spec.owner: Invalid value: "string": spec.owner in body must be of type boolean: '
            '"string"\n',
            'owner: spec.owner in body must be of type boolean: "string"',
        ),
        ("<nil>: Invalid value: null: some rule\n", "<nil>: some rule"),
        ("it rains\n", "it rains"),
        ("", "Kubernetes does not say why"),
    ],
)
def test_what_a_rule_refuses_is_told_by_the_fields_of_rest(causes: str, told: str) -> None:
    error = failure(f'The BackupExport "a" is invalid: {causes}')
    assert (error.exit_code, error.reason) == (ExitCode.USAGE, "Invalid")
    assert error.message == f"The export is not as it must be: {told}."


def test_what_stands_between_its_words_is_left_out() -> None:
    log = 'E1129 21:41:40.505342   26279 x.go:265] "Unhandled Error" err="read: i/o timeout"\n'
    assert failure(f"{log}error: it rains\n").exit_code == ExitCode.FAILED
    broken = 'The BackupExport "a" is invalid: spec.projectId: Required value\n'
    assert failure(f"Warning: an old version\n{broken}").exit_code == ExitCode.USAGE


def test_nothing_that_it_says_reaches_a_terminal_as_it_is() -> None:
    for words in (
        "error: \x1b[2J\x07gone\n",
        "error: " + "a" * 100_000,
        'The BackupExport "a" is invalid: spec.x: Invalid value: "b": \x1b[31mred\n',
        'The BackupExport "a" is invalid: \n' + "* spec.x: Required value\n" * 100_000,
    ):
        message = failure(words).message
        assert message.isprintable()
        assert len(message) < 2000
