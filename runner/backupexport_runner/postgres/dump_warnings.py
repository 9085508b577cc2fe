"""What pg_dump warns of although it ends well: pure."""

from collections.abc import Sequence

from backupexport_contract.runner_protocol import Remark

from backupexport_runner.task.failure import one_line

CODE = "pg_dump_warning"

_WARNING = "pg_dump: warning: "
# They belong to the line before (https://www.postgresql.org/docs/current/error-style-guide.html).
_MORE = ("pg_dump: detail: ", "pg_dump: hint: ")
_MOST = 10
_LONGEST = 500


def dump_warnings(lines: Sequence[str]) -> tuple[Remark, ...]:
    """Returns a remark for each warning among the lines of stderr, each once and ten at most."""
    texts: list[str] = []
    is_warning = False
    for line in lines:
        if line.startswith(_WARNING):
            texts.append(line.removeprefix(_WARNING))
            is_warning = True
        elif is_warning and line.startswith(_MORE):
            texts[-1] += " " + line.partition(": ")[2].partition(": ")[2]
        else:
            is_warning = False
    unique = list(dict.fromkeys(texts))
    remarks = [Remark(CODE, one_line(f"pg_dump warned: {text}", _LONGEST)) for text in unique]
    if len(remarks) > _MOST:
        left = len(remarks) - _MOST
        more = Remark(CODE, f"pg_dump warned {left} times more: the Job's log has the rest.")
        return (*remarks[:_MOST], more)
    return tuple(remarks)
