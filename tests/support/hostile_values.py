"""Hostile values, each under the name of its trick: one table for REST and for the CRD.

Every value that is text holds MARK where it can, so that a test can tell that no answer and no
log repeats it, and every command in one would make a file with CANARY in its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MARK = "hunter2"
CANARY = "backupexport-canary"
# What errors[] call a field whose name is not fit to be repeated.
STRANGE_FIELD = "(unknown field)"
_TOUCH = f"touch /exports/{CANARY}"
_FILE = f"/exports/{CANARY}"

PROJECT_ID = MARK
STORAGE_PATH = MARK
EMAIL = f"{MARK}@example.com"

# REST's names -> the custom resource's.
SPEC_FIELDS = {
    "project_id": "projectId",
    "format": "format",
    "compress": "compress",
    "compression": "compression",
    "storage_path": "storagePath",
    "notify_email": "notifyEmail",
    "content": "content",
    "owner": "owner",
    "privileges": "privileges",
}
PATTERN_FIELDS = {
    "include_schemas": "includeSchemas",
    "exclude_schemas": "excludeSchemas",
    "include_tables": "includeTables",
    "exclude_tables": "excludeTables",
    "exclude_table_data": "excludeTableData",
}


@dataclass(frozen=True)
class Hostile:
    """A request that must be refused: `fields` beside a good project id, for the sake of `field`.

    `not_by_hand` says why the same can't be, or isn't wrong, in a BackupExport.
    """

    id: str
    field: str
    fields: dict[str, Any]
    not_by_hand: str | None = None

    @property
    def hidden_names(self) -> list[str]:
        """Names that an answer must not repeat; a tame one may be, to say what is unknown."""
        return [name for name in self.fields if self.field in (STRANGE_FIELD, "body")]

    @property
    def body(self) -> dict[str, Any]:
        """The request's body."""
        return {"project_id": "proj-123", **self.fields}

    @property
    def spec(self) -> dict[str, Any]:
        """The same as the spec of a BackupExport."""
        return {SPEC_FIELDS.get(name, name): value for name, value in self.body.items()}


# What makes a good project id, path or address bad when it follows it.
_ENDINGS = {
    # A shell's.
    "shell-semicolon": f"; {_TOUCH}",
    "shell-and": f"&& {_TOUCH}",
    "shell-or": f"|| {_TOUCH}",
    "shell-pipe": f"|tee {_FILE}",
    "shell-background": f"& {_TOUCH} &",
    "shell-substitution": f"$({_TOUCH})",
    "shell-backticks": f"`{_TOUCH}`",
    "shell-process-substitution": f"<({_TOUCH})",
    "shell-redirect-out": f"> {_FILE}",
    "shell-redirect-append": f">>{_FILE}",
    "shell-redirect-in": "< /etc/passwd",
    "shell-here-string": f"<<<{CANARY}",
    "shell-variable": "$HOME",
    "shell-braced-variable": "${IFS}touch${IFS}" + _FILE,
    "shell-process-id": "$$",
    "shell-arithmetic": "$((7*7))",
    "shell-glob-star": "*",
    "shell-glob-question": "?",
    "shell-glob-class": "[a-z]",
    "shell-braces": "{a,b}",
    "shell-history": "!!",
    "shell-tilde": "~root",
    "shell-comment": " # comment",
    "shell-single-quote": f"'; {_TOUCH}; '",
    "shell-double-quote": f'"; {_TOUCH}; "',
    "shell-ansi-c-quote": f"$'\\x3b{_TOUCH}'",
    "shell-line-continuation": "\\\n",
    "shell-second-line": f"\n{_TOUCH}\n",
    "windows-variable": "%TEMP%",
    "windows-caret": "^",
    # Options of pg_dump, of psql and of their connection strings.
    "option-file": f" --file={_FILE}",
    "option-f": f" -f {_FILE}",
    "option-after-a-tab": "\t--help",
    "option-after-a-newline": "\n--help",
    "option-dbname": " --dbname=postgresql://127.0.0.1/other",
    "conninfo": "' host=127.0.0.1 dbname='other",
    "psql-shell": f"\n\\! {_TOUCH}\n",
    "psql-output": f"\n\\o {_FILE}\n",
    # Control characters.
    "newline": "\n",
    "carriage-return": "\r",
    "crlf": "\r\n",
    "tab": "\t",
    "vertical-tab": "\x0b",
    "form-feed": "\x0c",
    "nul": "\x00",
    "nul-and-suffix": "\x00.sql",
    "start-of-heading": "\x01",
    "backspace": "\x08\x08\x08",
    "bell": "\x07",
    "escape-sequence": "\x1b[2J",
    "terminal-title": "\x1b]0;owned\x07",
    "unit-separator": "\x1f",
    "delete": "\x7f",
    "next-line": "\x85",
    "control-sequence-introducer": "\x9b",
    # Space that is not one, or is not seen.
    "space": " ",
    "no-break-space": "\u00a0",
    "ogham-space": "\u1680",
    "en-quad": "\u2000",
    "thin-space": "\u2009",
    "narrow-no-break-space": "\u202f",
    "ideographic-space": "\u3000",
    "line-separator": "\u2028",
    "paragraph-separator": "\u2029",
    "zero-width-space": "\u200b",
    "zero-width-non-joiner": "\u200c",
    "zero-width-joiner": "\u200d",
    "word-joiner": "\u2060",
    "invisible-times": "\u2062",
    "byte-order-mark": "\ufeff",
    "soft-hyphen": "\u00ad",
    "mongolian-vowel-separator": "\u180e",
    "hangul-filler": "\u3164",
    "braille-blank": "\u2800",
    "tag-characters": "\U000e0061\U000e007f",
    "variation-selector": "\ufe0f",
    # Marks that change direction.
    "left-to-right-mark": "\u200e",
    "right-to-left-mark": "\u200f",
    "arabic-letter-mark": "\u061c",
    "left-to-right-embedding": "\u202a",
    "right-to-left-embedding": "\u202b",
    "pop-directional-formatting": "\u202c",
    "left-to-right-override": "\u202d",
    "right-to-left-override": "\u202etxt.exe",
    "left-to-right-isolate": "\u2066",
    "right-to-left-isolate": "\u2067",
    "first-strong-isolate": "\u2068",
    "pop-directional-isolate": "\u2069",
    # Marks on the letter before.
    "combining-acute": "\u0301",
    "combining-long-stroke": "\u0338",
    "combining-grapheme-joiner": "\u034f",
    "combining-keycap": "\u20e3",
    "zalgo": "\u0300\u0315\u031b\u0328\u0334\u0489" * 5,
    # Look-alikes of what is allowed.
    "cyrillic-a": "\u0430",
    "cyrillic-dze": "\u0455",
    "greek-omicron": "\u03bf",
    "greek-question-mark": "\u037e",
    "armenian-oh": "\u0585",
    "cherokee-letter": "\u13aa",
    "fullwidth-letter": "\uff41",
    "fullwidth-digit": "\uff11",
    "fullwidth-hyphen": "\uff0d",
    "fullwidth-low-line": "\uff3f",
    "fullwidth-solidus": "\uff0f",
    "fullwidth-full-stop": "\uff0e",
    "fullwidth-at": "\uff20",
    "small-full-stop": "\ufe52",
    "fraction-slash": "\u2044",
    "division-slash": "\u2215",
    "big-solidus": "\u29f8",
    "one-dot-leader": "\u2024",
    "two-dot-leader": "\u2025",
    "ellipsis": "\u2026",
    "ideographic-full-stop": "\u3002",
    "hyphen-proper": "\u2010",
    "non-breaking-hyphen": "\u2011",
    "en-dash": "\u2013",
    "minus-sign": "\u2212",
    "arabic-indic-digit": "\u0661",
    "devanagari-digit": "\u0967",
    "superscript-digit": "\u00b2",
    "circled-letter": "\u24d0",
    "roman-numeral": "\u2167",
    "mathematical-letter": "\U0001d41a",
    "ligature": "\ufb01",
    "dotless-i": "\u0131",
    "dotted-capital-i": "\u0130",
    "kelvin-sign-lowers-to-k": "\u212a",
    "long-s-uppers-to-s": "\u017f",
    "sharp-s-uppers-to-two": "\u00df",
    "umlaut": "\u00fc",
    "emoji": "\U0001f4a9",
    "private-use": "\ue000",
    "noncharacter": "\uffff",
    "replacement-character": "\ufffd",
    "mojibake": "\u00c3\u00bc",
    "lone-high-surrogate": "\ud800",
    "lone-low-surrogate": "\udfff",
    "surrogates-the-wrong-way-round": "\udc00\ud800",
    # Encodings of what is not allowed.
    "percent-dots": "%2e%2e%2f",
    "percent-nul": "%00",
    "percent-crlf": "%0d%0a",
    "percent-twice": "%252e%252e%252f",
    "percent-thrice": "%25252e",
    "percent-overlong": "%c0%ae%c0%ae%c0%af",
    "percent-overlong-three-bytes": "%e0%80%ae",
    "percent-u": "%u002e%u2215",
    "percent-alone": "%",
    "plus-for-space": "+x",
    "html-entity": "&#46;&#46;&#47;",
    "html-named-entity": "&sol;",
    "backslash-u": "\\u002e\\u002e",
    "backslash-x": "\\x2e\\x2e",
    "backslash-octal": "\\056",
    "backslash-n": "\\n",
    "utf-7": "+AC4ALg-",
    "quoted-printable": "=2E=2E",
    "mime-encoded-word": "=?utf-8?Q?=0A?=",
    "punycode-overflow": "\u2215xn--",
    # Other languages than the shell's.
    "sql-or": "' OR '1'='1",
    "sql-drop": "'; DROP TABLE exports; --",
    "sql-double-quote": '" OR ""="',
    "sql-comment": "/*x*/",
    "sql-sleep": "'||pg_sleep(10)--",
    "sql-copy-program": f"'; COPY (SELECT 1) TO PROGRAM '{_TOUCH}'; --",
    "sql-dollar-quote": "$$;SELECT 1;$$",
    "template-jinja": "{{7*7}}",
    "template-jinja-statement": "{% import os %}",
    "template-el": "${7*7}",
    "template-ruby": "#{7*7}",
    "template-erb": "<%= 7*7 %>",
    "template-go": "{{ .Env }}",
    "template-python-format": "{0.__class__.__mro__}",
    "template-python-percent": "%(secret)s",
    "template-printf": "%s%n%x",
    "template-jndi": "${jndi:ldap://127.0.0.1/a}",
    "template-kubernetes": "$(BACKUPEXPORT_JOB_ID)",
    "html-script": "<script>alert(1)</script>",
    "html-attribute": '"><img src=x onerror=alert(1)>',
    "yaml-second-key": "\n  cancel: true",
    "yaml-tag": " !!python/object/apply:os.system",
    "yaml-alias": " *anchor",
    "yaml-comment": " #",
    "json-second-key": '","cancel":true,"x":"',
    "xml-entity": '<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]>&y;',
    "ldap-filter": "*)(uid=*",
    "regex-bomb": "(a+)+$",
    "url-credentials": ":x@127.0.0.1",
    "url-query": "?admin=true",
    "url-fragment": "#x",
    "field-selector-second": ",metadata.name=other",
    "field-selector-value": "=other",
    "label-selector-not": "!=other",
    "header": "\r\nX-Injected: 1",
    "cookie": "\r\nSet-Cookie: a=b",
    "second-response": "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "log-forging": '\n{"level":"error","message":"forged"}',
    "spreadsheet-formula": "=cmd|'/c calc'!A0",
    # Ways out of a directory; every one is wrong in a project id and in an address, too.
    "parent": "/../other",
    "parent-at-the-end": "/..",
    "parents": "/../../../../../../etc/passwd",
    "parent-backslash": "\\..\\other",
    "parent-mixed-slashes": "/..\\../other",
    "parent-semicolon": "/..;/other",
    "parent-in-full-width": "/\uff0e\uff0e/other",
    "parent-behind-nul": "\x00/../other",
    "parent-split-by-zero-width": "/.\u200b./other",
    "parent-split-by-newline": "/.\n./other",
    "alternate-stream": ":stream",
    "trailing-slash": "/",
    "empty-segment": "//x",
    "dot-segment": "/./x",
    "dot-at-the-end": "/.",
}

_WRONG_TYPES: dict[str, Any] = {
    "number": 987654321,
    "zero": 0,
    "negative-number": -987654321,
    "number-beyond-64-bits": 2**64 + 987654321,
    "number-of-300-digits": 10**300 + 987654321,
    "fraction": 98765.4321,
    "largest-float": 1.7976931348623157e308,
    "smallest-float": 5e-324,
    "true": True,
    "false": False,
    "empty-list": [],
    "list": [MARK],
    "list-of-lists": [[[[MARK]]]],
    "empty-object": {},
    "object": {MARK: MARK},
    "object-with-an-operator": {"$ne": MARK},
    "object-with-a-prototype": {"__proto__": {MARK: True}},
}

_PROJECT_IDS = {
    "empty": "",
    "one-space": " ",
    "space-in-front": f" {MARK}",
    "newline-in-front": f"\n{MARK}",
    "byte-order-mark-in-front": f"\ufeff{MARK}",
    "one-too-long": "a" * 94 + MARK,
    "fifteen-thousand-long": MARK * 2100,
    "dot": ".",
    "dot-dot": "..",
    "dotted": f"{MARK}.sql",
    "path": f"{MARK}/other",
    "absolute-path": f"/exports/{MARK}",
    "parent-path": f"../{MARK}",
    "claim-wildcard": "*",
    "list-in-text": f"{MARK},other",
    "two-words": f"{MARK} other",
    "option-file": f"--file={_FILE}",
    "option-f-with-path": f"-f{_FILE}",
    "option-f-and-space": f"-f {_FILE}",
    "option-dbname": "--dbname=postgresql://127.0.0.1/other",
    "option-exclude": "--exclude-table=*",
    "option-role": "--role=postgres",
    "option-compress": "--compress=zstd:22",
    "option-end-and-word": f"-- {MARK}",
    "connection-uri": f"postgresql://{MARK}@127.0.0.1/other",
    "connection-words": f"host=127.0.0.1 user={MARK}",
    "quoted": f'"{MARK}"',
    "json-in-text": f'{{"project_id":"{MARK}"}}',
    "right-to-left-override-in-the-middle": f"hun\u202eter2{MARK}",
    "cyrillic-in-the-middle": f"pr\u043ej-{MARK}",
}

_STORAGE_PATHS = {
    "empty": "",
    "one-space": " ",
    "space-in-front": f" {MARK}",
    "space-segment": f"{MARK}/ /x",
    "tab-segment": f"{MARK}/\t/x",
    "newline-in-front": f"\n{MARK}",
    "one-too-long": "x" * 249 + MARK,
    "fifteen-thousand-long": MARK * 2100,
    "long-through-segments": f"{MARK}/" * 33,
    "root": "/",
    "two-slashes": "//",
    "absolute": f"/exports/{MARK}",
    "absolute-neighbour": f"/exports/other/{MARK}",
    "absolute-twice": f"//etc/{MARK}",
    "absolute-proc": f"/proc/self/environ/{MARK}",
    "absolute-parent": f"/../{MARK}",
    "canary": _FILE,
    "unc": f"\\\\server\\{MARK}",
    "unc-forward": f"//server/{MARK}",
    "unc-device": f"\\\\.\\pipe\\{MARK}",
    "unc-verbatim": f"\\\\?\\C:\\{MARK}",
    "drive": f"C:\\{MARK}",
    "drive-forward": f"C:/{MARK}",
    "drive-relative": f"C:{MARK}",
    "file-url": f"file:///exports/{MARK}",
    "s3-url": f"s3://bucket/{MARK}",
    "home": f"~/{MARK}",
    "home-variable": f"$HOME/{MARK}",
    "dot": ".",
    "dot-slash": "./",
    "dot-in-front": f"./{MARK}",
    "dots-in-front": f"././{MARK}",
    "parent-alone": "..",
    "parent-slash": "../",
    "parent-in-front": f"../{MARK}",
    "parent-neighbour": f"../other/{MARK}",
    "parent-and-back": f"{MARK}/../{MARK}",
    "parent-many": "../" * 60 + MARK,
    "parent-three-dots": "...",
    "parent-four-dots": f"..../{MARK}",
    "parent-doubled-after-stripping": f"....//{MARK}",
    "parent-glued-in-front": f"..{MARK}",
    "parent-glued-behind": f"{MARK}..",
    "parent-glued-in-the-middle": f"{MARK}..{MARK}",
    "parent-backslash": f"..\\{MARK}",
    "parent-percent": f"%2e%2e/{MARK}",
    "parent-percent-slash": f"..%2f{MARK}",
    "parent-percent-backslash": f"..%5c{MARK}",
    "parent-percent-twice": f"%252e%252e%252f{MARK}",
    "parent-half-percent": f".%2e/{MARK}",
    "parent-overlong": f"..%c0%af{MARK}",
    "parent-overlong-as-latin-1": f"..\u00c0\u00af{MARK}",
    "parent-division-slash": f"..\u2215{MARK}",
    "parent-two-dot-leader": f"\u2025/{MARK}",
    "parent-one-dot-leaders": f"\u2024\u2024/{MARK}",
    "parent-nul-between": f".\x00./{MARK}",
    "parent-space-behind": f".. /{MARK}",
    "parent-space-in-front": f"{MARK}/ ../x",
    "nul-in-front": f"\x00{MARK}",
    "backslash-segment": f"{MARK}\\x",
    "three-slashes": f"{MARK}///x",
    "slash-at-both-ends": f"/{MARK}/",
    "option-file": f"--file={_FILE}",
    "option-with-space": f"-f {_FILE}",
}

_EMAILS = {
    "empty": "",
    "no-at": MARK,
    "no-domain": f"{MARK}@",
    "no-local-part": "@example.org",
    "only-at": "@",
    "two-ats": f"{MARK}@@example.com",
    "two-domains": f"{MARK}@example.org@example.com",
    "host-name-only": "a@b",
    "localhost": f"{MARK}@localhost",
    "space-before-at": f"{MARK} @example.com",
    "space-after-at": f"{MARK}@ example.com",
    "space-in-front": f" {EMAIL}",
    "newline-in-front": f"\n{EMAIL}",
    "newline-in-the-local-part": f"hun\n{EMAIL}",
    "newline-in-the-domain": f"{MARK}@exam\nple.com",
    "crlf-before-at": f"{MARK}\r\n@example.com",
    "bcc-crlf": f"{EMAIL}\r\nBcc: all@example.com",
    "bcc-newline": f"{EMAIL}\nBcc: all@example.com",
    "bcc-carriage-return": f"{EMAIL}\rBcc: all@example.com",
    "bcc-in-front": f"Bcc: all@example.com\r\n{EMAIL}",
    "bcc-line-separator": f"{EMAIL}\u2028Bcc: all@example.com",
    "bcc-next-line": f"{EMAIL}\x85Bcc: all@example.com",
    "subject": f"{EMAIL}\r\nSubject: forged",
    "mime-part": f"{EMAIL}\r\nContent-Type: text/html\r\n\r\n<b>",
    "second-message": f"{EMAIL}\r\n.\r\nMAIL FROM:<x@example.com>",
    "folded-header": f"{MARK}@\r\n example.com",
    "angle-brackets": f"<{EMAIL}>",
    "display-name": f"Hunter <{EMAIL}>",
    "encoded-word": f"=?utf-8?q?{MARK}?=@example.com",
    "encoded-display-name": f"=?utf-8?b?SHVudGVy?= <{EMAIL}>",
    "mailto": f"mailto:{EMAIL}",
    "mailto-bcc": f"{EMAIL}?bcc=all@example.com",
    "comma-list": f"{EMAIL},all@example.com",
    "semicolon-list": f"{EMAIL};all@example.com",
    "space-list": f"{EMAIL} all@example.com",
    "group": f"group:{EMAIL};",
    "source-route": f"@relay.example,@other.example:{EMAIL}",
    "quoted-local-part": f'"{MARK}"@example.com',
    "quoted-space": f'"{MARK} x"@example.com',
    "quoted-at": f'"{MARK}@x"@example.com',
    "quoted-crlf": f'"{MARK}\r\nBcc: x"@example.com',
    "escaped-at": f"{MARK}\\@example.com",
    "comment-in-front": f"(comment){EMAIL}",
    "comment-before-at": f"{MARK}(comment)@example.com",
    "comment-after-at": f"{MARK}@(comment)example.com",
    "ipv4-literal": f"{MARK}@[127.0.0.1]",
    "ipv6-literal": f"{MARK}@[IPv6:::1]",
    "ipv4-literal-and-port": f"{MARK}@[127.0.0.1]:25",
    "ipv4-bare": f"{MARK}@127.0.0.1",
    "ipv4-metadata-service": f"{MARK}@169.254.169.254",
    "ipv4-short": f"{MARK}@127.1",
    "ipv4-decimal": f"{MARK}@2130706433",
    "ipv4-hexadecimal": f"{MARK}@0x7f.0x1",
    "domain-and-port": f"{EMAIL}:25",
    "domain-double-dot": f"{MARK}@example..com",
    "domain-dot-in-front": f"{MARK}@.example.com",
    "domain-dot-behind": f"{EMAIL}.",
    "domain-hyphen-in-front": f"{MARK}@-example.com",
    "domain-hyphen-behind": f"{MARK}@example-.com",
    "domain-underscore": f"{MARK}@exam_ple.com",
    "domain-percent": f"{MARK}@example.c%6fm",
    "domain-substitution": f"{MARK}@$({_TOUCH}).com",
    "domain-label-too-long": f"{MARK}@{'a' * 64}.com",
    "domain-idn": f"{MARK}@ex\u00e4mple.com",
    "domain-cyrillic": f"{MARK}@\u0435xample.com",
    "domain-ideographic-full-stop": f"{MARK}@example\u3002com",
    "domain-one-dot-leader": f"{MARK}@example\u2024com",
    "domain-zero-width": f"{MARK}@exam\u200bple.com",
    "at-in-full-width": f"{MARK}\uff20example.com",
    "local-part-double-dot": f"{MARK}..x@example.com",
    "local-part-dot-in-front": f".{EMAIL}",
    "local-part-dot-behind": f"{MARK}.@example.com",
    "local-part-not-ascii": f"h\u00fcnter2{EMAIL}",
    "local-part-cyrillic": f"\u0430{EMAIL}",
    "local-part-right-to-left": f"\u202e{EMAIL}",
    "local-part-nul": f"\x00{EMAIL}",
    "local-part-too-long": f"{'a' * 58}{EMAIL}",
    "local-part-substitution": f"$({_TOUCH})@example.com",
    "local-part-pipe": f"|{_TOUCH}@example.com",
    "sendmail-option": f"-oQ/tmp/{EMAIL}",
    "sendmail-option-and-space": f"-X{_FILE} {EMAIL}",
    "sendmail-long-option": f"--file={_FILE}@example.com",
    "too-long": f"{MARK}@{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.com",
    "too-long-through-labels": f"{MARK}@" + "a." * 200 + "com",
    "fifteen-thousand-long": f"{MARK * 2100}@example.com",
    "fifteen-thousand-ats": MARK + "@" * 15000,
}

_FORMATS = {
    "empty": "",
    "capitals": "SQL",
    "capital": "Sql",
    "space-behind": "sql ",
    "space-in-front": " tar",
    "newline-behind": "sql\n",
    "carriage-return-behind": "tar\r",
    "nul-behind": "sql\x00",
    "zero-width-behind": "sql\u200b",
    "cyrillic-dze": "\u0455ql",
    "fullwidth": "\uff53\uff51\uff4c",
    "long-s": "\u017fql",
    "prefix": "sq",
    "longer": "sqll",
    "pg-dump-directory": "directory",
    "pg-dump-plain": "plain",
    "pg-dump-letter": "c",
    "pg-dump-option": "--format=custom",
    "pg-dump-short-option": "-Fc",
    "two": "sql,tar",
    "file-name": "sql.zst",
    "parent": "../sql",
    "shell": f"sql; {_TOUCH}",
    "substitution": f"$({_TOUCH})",
    "second-option": f"tar --file={_FILE}",
    "template": "{{7*7}}sql",
    "word-null": "null",
    "word-true": "true",
    "lone-surrogate": "sql\ud800",
    "fifteen-thousand-long": "sql" * 5000,
}

_CONTENTS = {
    "empty": "",
    "capitals": "SCHEMA",
    "space-behind": "data ",
    "newline-behind": "schema\n",
    "zero-width-behind": "all\u200b",
    "option": "--schema-only",
    "short-option": "-a",
    "section": "pre-data",
    "two": "schema,data",
    "shell": f"schema; {_TOUCH}",
    "fifteen-thousand-long": "data" * 3700,
}

_COMPRESSIONS = {
    "empty": "",
    "capitals": "ZSTD",
    "space-behind": "zstd ",
    "newline-behind": "gzip\n",
    "nul-behind": "zstd\x00",
    "zero-width-behind": "zstd\u200b",
    "cyrillic-dze": "z\u0455td",
    "level": "zstd:22",
    "long-window": "zstd:long=31",
    "option": "--long=31",
    "short-option": "-9",
    "none": "none",
    "off": "off",
    "word-false": "false",
    "xz": "xz",
    "lz4": "lz4",
    "pigz": "pigz",
    "two": "zstd,gzip",
    "suffix": "zst",
    "path-of-a-program": f"/exports/{MARK}",
    "shell": f"gzip; {_TOUCH}",
    "substitution": f"$({_TOUCH})",
    "template": "{{7*7}}gzip",
    "lone-surrogate": "gzip\udfff",
    "fifteen-thousand-long": "gzip" * 3700,
}

_SWITCHES = ("compress", "owner", "privileges")
_SWITCHED: dict[str, Any] = {
    "text-true": "true",
    "text-false": "false",
    "text-True": "True",
    "text-yes": "yes",
    "text-no": "no",
    "text-on": "on",
    "text-off": "off",
    "text-one": "1",
    "text-zero": "0",
    "text-empty": "",
    "text-null": "null",
    "text-space": "true ",
    "text-newline": "false\n",
    "text-codec": f"zstd{MARK}",
    "text-shell": f"true; {_TOUCH}",
    "number-one": 1,
    "fraction-one": 1.0,
    "fraction-zero": 0.0,
    "list-of-true": [True],
    "object-of-true": {MARK: True},
}

_UNKNOWN_FIELDS = (
    "__proto__", "constructor", "prototype", "__class__", "__init__", "model_config", "toString",
    "spec", "status", "metadata", "kind", "apiVersion", "namespace", "name", "uid", "labels",
    "annotations", "ownerReferences", "finalizers", "phase", "job_id", "jobId", "id",
    "requested_by", "created_at", "sub", "projects", "admin", "role", "password", "secretRef",
    "secret_ref", "host", "sslmode", "command", "args", "env", "image", "serviceAccountName",
    "file_name", "path", "email", "notifyemail", "PROJECT_ID", "Project_Id", "project-id",
    "active_deadline_seconds", "retention_seconds",
)  # fmt: skip
# Names that no program would have as a field's: an answer must not even repeat the name.
_UNKNOWN_STRANGE_FIELDS = {
    "json-schema": "$schema",
    "json-reference": "$ref",
    "mongo-operator": "$where",
    "json-ld": "@type",
    "space-behind": "project_id ",
    "space-in-front": " project_id",
    "newline-behind": "project_id\n",
    "nul-behind": "project_id\x00",
    "zero-width-behind": "project_id\u200b",
    "direction-behind": "format\u202e",
    "php-array": "project_id[]",
    "cyrillic": "\u0440roject_id",
    "fullwidth-low-line": "project\uff3fid",
    "dotted-path": "spec.cancel",
    "json-path": ".spec.cancel",
    "json-pointer": "/spec/cancel",
    "bracketed-path": "spec[cancel]",
    "html": "<script>",
    "template": "{{7*7}}",
    "two-words": "a b",
    "empty": "",
    "space": " ",
    "nul": "\x00",
    "newline": "\n",
    "too-long": "x" * 65,
    "fifteen-thousand-long": "x" * 15000,
}
_FIELDS_BY_HAND = (
    "projectId", "storagePath", "notifyEmail", "cancel", "activeDeadlineSeconds",
    "retentionSeconds",
)  # fmt: skip

_IS_A_FIELD = "a BackupExport has a field of this name"
_NULL_IS_THE_DEFAULT = "the API server puts the default in the place of null"


def _texts() -> Iterator[Hostile]:
    for trick, ending in _ENDINGS.items():
        for field, good in (
            ("project_id", PROJECT_ID),
            ("storage_path", STORAGE_PATH),
            ("notify_email", EMAIL),
        ):
            yield Hostile(f"{field}-then-{trick}", field, {field: good + ending})
    for field, values in (
        ("project_id", _PROJECT_IDS),
        ("storage_path", _STORAGE_PATHS),
        ("notify_email", _EMAILS),
        ("format", _FORMATS),
        ("compression", _COMPRESSIONS),
        ("compress", _SWITCHED),
        ("content", _CONTENTS),
        ("owner", _SWITCHED),
        ("privileges", _SWITCHED),
    ):
        for trick, value in values.items():
            yield Hostile(f"{field}-{trick}", field, {field: value})


def _types() -> Iterator[Hostile]:
    for field in SPEC_FIELDS:
        for kind, value in _WRONG_TYPES.items():
            if not (field in _SWITCHES and isinstance(value, bool)):
                yield Hostile(f"{field}-as-{kind}", field, {field: value})
    yield Hostile("project_id-as-null", "project_id", {"project_id": None})
    for field in ("format", "content", *_SWITCHES):
        yield Hostile(f"{field}-as-null", field, {field: None}, _NULL_IS_THE_DEFAULT)
    for name in ("zstd", "gzip"):
        fields = {"compress": False, "compression": name}
        yield Hostile(f"compression-{name}-without-compress", "compression", fields)


def _unknown_fields() -> Iterator[Hostile]:
    for name in _UNKNOWN_FIELDS:
        yield Hostile(f"unknown-field-{name}", name, {name: MARK})
    for trick, name in _UNKNOWN_STRANGE_FIELDS.items():
        yield Hostile(f"unknown-field-{trick}", STRANGE_FIELD, {name: MARK})
    yield Hostile("unknown-field-lone-surrogate", "body", {"\ud800": MARK})
    for name in _FIELDS_BY_HAND:
        yield Hostile(f"unknown-field-{name}", name, {name: MARK}, _IS_A_FIELD)


# Lists of patterns that must be refused as a whole.
PATTERNS: dict[str, Any] = {
    "text": MARK,
    "object": {MARK: MARK},
    "empty": [""],
    "number": [987654321],
    "null": [None],
    "list": [[MARK]],
    "newline": [f"{MARK}\n"],
    "nul": [f"{MARK}\x00"],
    "escape": [f"\x1b[31m{MARK}"],
    "next-line": [f"{MARK}\x85"],
    "too-long": [MARK + "x" * 255],
    "good-then-bad": ["public.*", f"{MARK}\r"],
    "a-hundred-and-one": [f"{MARK}{number}" for number in range(101)],
}

CASES = (*_texts(), *_types(), *_unknown_fields())
CASES_BY_HAND = tuple(case for case in CASES if case.not_by_hand is None)


@dataclass(frozen=True)
class Odd:
    """A request that looks hostile and breaks no rule: it must be harmless instead."""

    id: str
    project_id: str
    storage_path: str | None = None
    notify_email: str | None = None
    exclude_tables: tuple[str, ...] = ()

    @property
    def body(self) -> dict[str, Any]:
        """The request's body."""
        fields = {
            "project_id": self.project_id,
            "storage_path": self.storage_path,
            "notify_email": self.notify_email,
            "exclude_tables": list(self.exclude_tables) or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


# What pg_dump, rm, a shell, YAML, JavaScript or Windows could take for something else.
ODD = (
    Odd("option-help", "--help"),
    Odd("option-version", "--version", storage_path="--version"),
    Odd("option-f", "-f", storage_path="-f/--file"),
    Odd("option-file", "--file", storage_path="-rf"),
    Odd("end-of-options", "--", storage_path="-"),
    Odd("standard-input", "-", storage_path="_"),
    Odd("underscore", "_", storage_path=".hidden/.-"),
    Odd("prototype", "__proto__", storage_path="constructor"),
    Odd("word-null", "null", storage_path="null"),
    Odd("word-of-yaml", "no", storage_path="true"),
    Odd("number", "0", storage_path="-1"),
    Odd("windows-device", "CON", storage_path="nul.txt"),
    Odd("longest", "A" * 100, storage_path="x/" * 127 + "x"),
    Odd("temporary-name", "tmp", storage_path=".sql.zst.partial"),
    Odd("mail-backticks", "mail-1", notify_email="`id`@example.com"),
    Odd("mail-template", "mail-2", notify_email="{{7*7}}@example.com"),
    Odd("mail-pipe", "mail-3", notify_email="a|b&c@example.com"),
    Odd("pattern-option", "pattern-1", exclude_tables=("--file=/exports/x", "-f", "--", "-")),
    Odd("pattern-sql", "pattern-2", exclude_tables=('"x\'); DROP TABLE a; --"', '"a"".b"')),
    Odd("pattern-shell", "pattern-3", exclude_tables=(f"$({_TOUCH})", f"`{_TOUCH}`", "$(PGHOST)")),
    Odd("pattern-regex", "pattern-4", exclude_tables=("(a+)+", "[a-z]{3}", "\U0001f600 b")),
    Odd("mail-percent", "mail-4", notify_email="a%0d%0aBcc@example.com"),
)
