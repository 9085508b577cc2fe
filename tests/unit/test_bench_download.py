"""What `make bench-download` reads in the log of its nginx."""

from pathlib import Path

import nginx


def test_only_whole_files_count_as_sent(tmp_path: Path) -> None:
    line = '127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /x HTTP/1.1" {} {} "-" "curl"\n'
    answers = [(200, 1000), (200, 999), (206, 1000), (404, 1000), (200, 10000), (200, 1000)]
    (tmp_path / "access.log").write_text("".join(line.format(*answer) for answer in answers))

    assert nginx.sent(tmp_path, 1000) == 2
