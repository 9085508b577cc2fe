"""Hostile bodies, byte for byte, each under the name of its trick.

No manifest carries these: kubectl and the client libraries write their own JSON.
"""

import gzip
import json
from dataclasses import dataclass, field

from hostile_values import MARK, STRANGE_FIELD

_JSON = "application/json"
_GOOD = '{"project_id": "proj-123"}'
_LIMIT = 16 * 1024


@dataclass(frozen=True)
class HostileBody:
    """A body that must be refused with `status`; `named` is what errors[] names with a 400."""

    id: str
    content: bytes
    named: str = "body"
    status: int = 400
    content_type: str | None = _JSON
    headers: dict[str, str] = field(default_factory=dict)


def _padded(size: int) -> bytes:
    return _GOOD.encode().ljust(size)


_NOT_OUR_JSON: dict[str, bytes | str] = {
    "empty": "",
    "whitespace": " \r\n\t ",
    "nul": "\x00",
    "null": "null",
    "true": "true",
    "number": "987654321",
    "number-with-a-thousand-digits": "9" * 1000,
    "number-with-fifteen-thousand-digits": "9" * 15000,
    "text": f'"{MARK}"',
    "empty-list": "[]",
    "list-of-a-good-body": f"[{_GOOD}]",
    "cut-off": '{"project_id": "proj-1',
    "cut-off-after-the-value": '{"project_id": "proj-123"',
    "trailing-comma": '{"project_id": "proj-123",}',
    "trailing-brace": _GOOD + "}",
    "trailing-text": f"{_GOOD} {MARK}",
    "trailing-nul": _GOOD + "\x00",
    "two-documents": _GOOD + _GOOD,
    "two-documents-by-line": f"{_GOOD}\n{_GOOD}",
    "record-separator": f"\x1e{_GOOD}",
    "json-prefix": f")]}}',\n{_GOOD}",
    "comment-of-two-slashes": _GOOD + " // comment",
    "comment-in-stars": f"/* comment */ {_GOOD}",
    "comment-of-a-hash": f"# comment\n{_GOOD}",
    "single-quotes": "{'project_id': 'proj-123'}",
    "no-quotes": "{project_id: proj-123}",
    "value-without-quotes": f'{{"project_id": {MARK}}}',
    "yaml": "project_id: proj-123",
    "form": "project_id=proj-123",
    "xml": "<project_id>proj-123</project_id>",
    "multipart": '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nproj-123\r\n--x--\r\n',
    "javascript": f"require('child_process').exec('touch {MARK}')",
    "pickle": b"cos\nsystem\n(S'true'\ntR.",
    "duplicate-key": '{"project_id": "other", "project_id": "proj-123"}',
    "duplicate-key-alike": '{"project_id": "proj-123", "project_id": "proj-123"}',
    "duplicate-key-escaped": '{"project_id": "other", "project\\u005fid": "proj-123"}',
    "duplicate-key-further-in": '{"project_id": {"a": 1, "a": 2}}',
    "duplicate-unknown-key": '{"project_id": "proj-123", "a": 1, "a": 1}',
    "nan": '{"project_id": "proj-123", "compress": NaN}',
    "nan-alone": "NaN",
    "infinity": '{"project_id": Infinity}',
    "minus-infinity": '{"project_id": "proj-123", "compress": -Infinity}',
    "hexadecimal": '{"project_id": "proj-123", "compress": 0x1}',
    "octal": '{"project_id": "proj-123", "compress": 01}',
    "plus-one": '{"project_id": "proj-123", "compress": +1}',
    "number-value-with-thousands-of-digits": '{"project_id": ' + "7" * 10000 + "}",
    "python-true": '{"project_id": "proj-123", "compress": True}',
    "undefined": '{"project_id": undefined}',
    "raw-newline-in-text": '{"project_id": "proj-\n123"}',
    "raw-nul-in-text": '{"project_id": "proj-123\x00"}',
    "raw-tab-in-a-name": '{"project\t_id": "proj-123"}',
    "bad-escape": r'{"project_id": "proj\x2d123"}',
    "cut-off-unicode-escape": r'{"project_id": "proj-123\u00"}',
    "deep-lists": "[" * 16000,
    "deep-lists-closed": "[" * 8000 + "]" * 8000,
    "deep-objects": '{"a":' * 3200,
    "deep-value": '{"project_id": ' + "[" * 8000 + "]" * 8000 + "}",
    "deep-unknown-value": '{"project_id": "proj-123", "a": ' + '{"a":' * 2000 + "1" + "}" * 2001,
    "not-utf-8": b'{"project_id": "\xff"}',
    "not-utf-8-in-a-name": b'{"\xfe": 1}',
    "latin-1": '{"project_id": "pr\u00f6j"}'.encode("latin-1"),
    "overlong-slash": b'{"project_id": "..\xc0\xaf"}',
    "overlong-nul": b'{"project_id": "proj-123\xc0\x80"}',
    "surrogate-in-utf-8": b'{"project_id": "\xed\xa0\x80"}',
    "beyond-unicode": b'{"project_id": "\xf4\x90\x80\x80"}',
    "cut-off-utf-8": b'{"project_id": "proj-123"}\xe2\x82',
    "byte-order-mark": b"\xef\xbb\xbf" + _GOOD.encode(),
    "utf-16": _GOOD.encode("utf-16"),
    "utf-16-without-a-mark": _GOOD.encode("utf-16-le"),
    "utf-32": _GOOD.encode("utf-32"),
    "utf-7": "+AHsAIg-project_id+ACI: +ACI-proj-123+ACIAfQ-",
    "ebcdic": _GOOD.encode("cp500"),
    "gzip-undeclared": gzip.compress(_GOOD.encode(), mtime=0),
    "gzip-bomb": gzip.compress(b" " * 8_000_000, mtime=0),
}  # fmt: skip

# Good JSON that only bytes can spell.
_FIELDS: dict[str, tuple[str, str]] = {
    "no-fields": ("{}", "project_id"),
    "number-that-overflows": ('{"project_id": 1e999}', "project_id"),
    "number-that-overflows-below": ('{"project_id": "proj-123", "compress": -1e999}', "compress"),
    "number-that-underflows": ('{"project_id": "proj-123", "compress": 1e-999}', "compress"),
    "minus-zero": ('{"project_id": "proj-123", "compress": -0}', "compress"),
    "one-with-exponent": ('{"project_id": "proj-123", "compress": 1e0}', "compress"),
    "escaped-newline": (r'{"project_id": "proj-123\u000a"}', "project_id"),
    "escaped-nul": (r'{"project_id": "proj-123\u0000"}', "project_id"),
    "escaped-parent": (r'{"project_id": "a", "storage_path": "\u002e\u002e"}', "storage_path"),
    "escaped-slash": (r'{"project_id": "a", "storage_path": "\/etc"}', "storage_path"),
    "escaped-lone-surrogate": (r'{"project_id": "\ud800"}', "project_id"),
    "escaped-pair": (r'{"project_id": "\ud83d\udca9"}', "project_id"),
    "unknown-name-in-escapes": (r'{"project_id": "a", "\u0063ancel": true}', "cancel"),
    "unknown-name-with-a-nul": (r'{"project_id": "a", "format\u0000": "sql"}', STRANGE_FIELD),
    "thousands-of-unknown-names": (
        json.dumps({"project_id": "a"} | {f"f{number}": 1 for number in range(1400)}),
        "f0",
    ),
}

_CONTENT_TYPES = {
    "none": None,
    "empty": "",
    "text": "text/plain",
    "text-json": "text/json",
    "form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data; boundary=x",
    "yaml": "application/yaml",
    "xml": "application/xml",
    "octets": "application/octet-stream",
    "jsonp": "application/jsonp",
    "json-lines": "application/jsonl",
    "json-as-a-parameter": "text/plain; application/json",
    "json-in-a-parameter": 'text/plain; x="application/json"',
    "json-second": "text/plain, application/json",
    "any": "*/*",
}


def _bodies() -> list[HostileBody]:
    found = [
        HostileBody(f"body-{trick}", text if isinstance(text, bytes) else text.encode())
        for trick, text in _NOT_OUR_JSON.items()
    ]
    found += [
        HostileBody(f"body-{trick}", text.encode(), named)
        for trick, (text, named) in _FIELDS.items()
    ]
    found += [
        HostileBody(f"content-type-{trick}", _GOOD.encode(), status=415, content_type=kind)
        for trick, kind in _CONTENT_TYPES.items()
    ]
    found += [
        # What the header says doesn't matter: the body is read as UTF-8, and this isn't.
        HostileBody(
            "content-type-utf-16",
            _GOOD.encode("utf-16"),
            content_type=f"{_JSON}; charset=utf-16",
        ),
        HostileBody(
            "content-encoding-gzip",
            gzip.compress(_GOOD.encode(), mtime=0),
            headers={"Content-Encoding": "gzip"},
        ),
        HostileBody(
            "content-encoding-gzip-bomb",
            gzip.compress(b" " * 8_000_000, mtime=0),
            headers={"Content-Encoding": "gzip"},
        ),
        HostileBody("size-one-too-many", _padded(_LIMIT + 1), status=413),
        HostileBody("size-a-mebibyte", _padded(1 << 20), status=413),
        HostileBody(
            "size-a-mebibyte-of-text", f'{{"project_id": "{"a" * (1 << 20)}"}}'.encode(), status=413
        ),
    ]
    return found


BODIES = tuple(_bodies())
