"""Headers that tell browsers what to refuse, so that a mistake in a page stays harmless."""

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_TRUSTED_TYPES = {"require-trusted-types-for": "'script'", "trusted-types": "'none'"}

_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(),"
    " payment=(), usb=(), clipboard-read=(), clipboard-write=(self)",
}


# Of every answer that says nothing else: an answer is for its caller, and what its type says.
FOR_ANSWER = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def for_answers(public_url: str) -> dict[str, str]:
    """Return FOR_ANSWER, and for users who come by https that they keep to it (RFC 6797)."""
    if public_url.startswith("https://"):
        return {**FOR_ANSWER, "Strict-Transport-Security": "max-age=31536000"}
    return FOR_ANSWER


def _with_policy(policy: dict[str, str]) -> dict[str, str]:
    joined = "; ".join(f"{name} {value}".strip() for name, value in policy.items())
    return {"Content-Security-Policy": joined, **_COMMON}


# Nothing from elsewhere, nothing inline, no text that becomes code.
FOR_PAGE = _with_policy(_POLICY | _TRUSTED_TYPES)
# It sets markup, and shows pictures out of its style sheet.
FOR_SWAGGER_UI = _with_policy(_POLICY | {"img-src": "'self' data:"})
# The pages' files: the policy counts where one is opened by itself.
FOR_ASSET = _with_policy({"default-src": "'none'", "frame-ancestors": "'none'"})
# Saved, never shown, and its link sent to no other site.
FOR_DOWNLOAD = _with_policy({"default-src": "'none'", "sandbox": "", "frame-ancestors": "'none'"})
