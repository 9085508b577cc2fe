import pytest
from backupexport_cli.commands.durations import seconds_of
from backupexport_cli.errors import CliError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30min", 1800), ("30m", 1800), ("12 h", 43200), ("3d", 259200)],
)
def test_times_are_read(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "1.5h", "h", "5 weeks", "9" * 20, "٣d"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(CliError, match="no time"):
        seconds_of(text)
