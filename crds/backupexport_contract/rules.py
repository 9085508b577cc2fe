"""What a value must look like, once for REST, for the CRD's schema and for the runner.

Each rule is one regular expression that the *whole* value must match, written in the part of
the language that Python's `re` and RE2 (https://github.com/google/re2/wiki/Syntax, which
Kubernetes' CEL uses) read alike: no look-around, no back-references, no anchors.
"""

import re
from dataclasses import dataclass

PROJECT_ID_LENGTH = 100
STORAGE_PATH_LENGTH = 255
# RFC 5321, 4.5.3.1.3: a path is at most 256 octets with its angle brackets.
EMAIL_LENGTH = 254
# RFC 5321, 4.5.3.1.1.
EMAIL_LOCAL_LENGTH = 64

FORMATS = ("sql", "tar", "custom")
CONTENTS = ("all", "schema", "data")
COMPRESSIONS = ("zstd", "gzip")


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a value must be; `message` follows the field's name in a sentence."""

    code: str
    message: str
    pattern: str

    def allows(self, value: str) -> bool:
        """Whether the whole of `value` matches, a trailing newline included."""
        return re.fullmatch(self.pattern, value) is not None

    @property
    def cel(self) -> str:
        """The same rule as a CEL expression over `self`."""
        return f'self.matches(r"^(?:{self.pattern})$")'


PROJECT_ID = (
    Rule(
        "project_id_invalid",
        f"must be 1 to {PROJECT_ID_LENGTH} characters from A-Z a-z 0-9 - _ and nothing else",
        f"[A-Za-z0-9_-]{{1,{PROJECT_ID_LENGTH}}}",
    ),
)

_SEGMENT = "[^/]*[^/.][^/]*"

STORAGE_PATH = (
    Rule("storage_path_absolute", "must be relative: drop the leading /", "(?:[^/](?s:.*))?"),
    Rule(
        "storage_path_length",
        f"must be 1 to {STORAGE_PATH_LENGTH} characters long",
        f"(?s:.{{1,{STORAGE_PATH_LENGTH}}})",
    ),
    Rule(
        "storage_path_characters",
        "may hold only A-Z a-z 0-9 . _ - and / (no backslash, no %, no space)",
        "[A-Za-z0-9._/-]*",
    ),
    Rule("storage_path_parent", "must not contain '..'", r"(?:\.?[^.])*\.?"),
    Rule(
        "storage_path_segment",
        "must not have an empty or '.' segment (no '//', no './', no trailing /)",
        rf"/?{_SEGMENT}(?:/{_SEGMENT})*",
    ),
)

# RFC 5321's dot-string without what sendmail would take for an option, then at least two labels
# of RFC 1123, because mail to a bare host name leaves no cluster; the last label begins with a
# letter, because an IPv4 address is no domain.  Nor may it begin with `=`: in a header such an
# address is read as an encoded word (RFC 2047).
_EMAIL_FIRST = "[a-zA-Z0-9!#$%&'*+/?^_`{|}~]"
_EMAIL_ATOM = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL_REST = "(?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_EMAIL_SHAPE = (
    rf"{_EMAIL_FIRST}{_EMAIL_ATOM}*(?:\.{_EMAIL_ATOM}+)*"
    rf"@(?:[a-zA-Z0-9]{_LABEL_REST}\.)+[a-zA-Z]{_LABEL_REST}"
)
EMAIL = (
    # First, so that nothing long is matched against the shape.
    Rule(
        "notify_email_length",
        f"must be 1 to {EMAIL_LENGTH} characters long",
        f"(?s:.{{1,{EMAIL_LENGTH}}})",
    ),
    Rule(
        "notify_email_invalid", "must be one e-mail address such as ops@example.com", _EMAIL_SHAPE
    ),
    Rule(
        "notify_email_local_length",
        f"must have at most {EMAIL_LOCAL_LENGTH} characters before the @",
        f"[^@]{{1,{EMAIL_LOCAL_LENGTH}}}@[^@]*",
    ),
)
# All of them for readers without CEL, whose regular expressions (ECMA-262) have look-ahead.
EMAIL_PATTERN = f"(?=[^@]{{1,{EMAIL_LOCAL_LENGTH}}}@){_EMAIL_SHAPE}"


PATTERN_LENGTH = 255
MOST_PATTERNS = 100
# As pg_dump takes them (https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS).
PATTERN = (
    Rule(
        "pattern_length",
        f"must be 1 to {PATTERN_LENGTH} characters long",
        f"(?s:.{{1,{PATTERN_LENGTH}}})",
    ),
    Rule(
        "pattern_characters",
        "must not contain control characters",
        r"[^\x00-\x1f\x7f-\x9f]*",
    ),
)


MOST_RECIPIENTS = 10
RECIPIENT_LENGTH = 1500
# https://age-encryption.org/v1: of X25519, or a public key of ssh as its file has it.
_RECIPIENT = (
    r"age1[02-9ac-hj-np-z]{58}"
    r"|ssh-(?:ed25519|rsa) AAAA[A-Za-z0-9+/]+={0,2}(?: [!-~][ -~]*)?"
)
RECIPIENT = (
    Rule(
        "recipient_length",
        f"must be 1 to {RECIPIENT_LENGTH} characters long",
        f"(?s:.{{1,1000}}.{{0,{RECIPIENT_LENGTH - 1000}}})",
    ),
    Rule(
        "recipient_invalid",
        "must be a recipient of age: age1…, or a public key ssh-ed25519 … or ssh-rsa …",
        _RECIPIENT,
    ),
)


# Of a volume's room: bytes, or a percentage of all of it.
RESERVE = "[0-9]{1,18}|(?:100|[0-9]{1,2})%"


# No export is smaller: what pg_dump writes of an empty database is more, compressed too.
LEAST_FILE_BYTES = 256


def first_broken(rules: tuple[Rule, ...], value: str) -> Rule | None:
    """The first rule that `value` breaks, or None."""
    return next((rule for rule in rules if not rule.allows(value)), None)
