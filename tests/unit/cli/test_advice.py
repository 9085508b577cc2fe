"""What is advised can be typed as it stands."""

import pytest
from backupexport_cli.advice import as_typed

JOB_ID = "0b7c2d7e-4d1c-4b7e-9a55-5f1f0a6f9b11"


@pytest.mark.parametrize(
    ("advice", "options", "arguments", "typed"),
    [
        ("See: backupexport job ID", [], ["cancel", JOB_ID], f"See: backupexport job {JOB_ID}"),
        ("See: backupexport job ID", [], ["cancel", "0b7c2d7e"], "See: backupexport job 0b7c2d7e"),
        ("See: backupexport job ID", [], ["export", "p"], "See: backupexport job ID"),
        (
            "Compare: backupexport check FILE --job ID",
            [],
            ["link", JOB_ID],
            f"Compare: backupexport check FILE --job {JOB_ID}",
        ),
        (
            "List them: backupexport jobs",
            ["--kube", "--json", "-n", "an export", "-v"],
            ["job", JOB_ID],
            "List them: backupexport --kube -n 'an export' jobs",
        ),
        (
            f"Go on: backupexport download {JOB_ID}",
            ["--context=ours"],
            ["download", JOB_ID],
            f"Go on: backupexport --context=ours download {JOB_ID}",
        ),
        # These name their server themselves, or need none.
        (
            "Log in: backupexport login URL",
            ["--kube"],
            ["jobs"],
            "Log in: backupexport login URL",
        ),
        (
            "Log in: backupexport --kube -n ours login",
            ["--kube"],
            ["link", JOB_ID],
            "Log in: backupexport --kube -n ours login",
        ),
        ("Look for the job's ID.", [], ["job", JOB_ID], "Look for the job's ID."),
        (
            "See what there is to say: backupexport COMMAND --help",
            [],
            ["link", JOB_ID, "--lifetime", "3d"],
            "See what there is to say: backupexport link --help",
        ),
        ("", ["--kube"], [], ""),
    ],
)
def test_commands_lead_where_the_failed_one_led(
    advice: str, options: list[str], arguments: list[str], typed: str
) -> None:
    assert as_typed(advice, options, arguments) == typed
