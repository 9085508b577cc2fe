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


def for_page() -> dict[str, str]:
    """For our own page: nothing from elsewhere, nothing inline, no text that becomes code."""
    return _with_policy(_POLICY | _TRUSTED_TYPES)


def for_swagger_ui() -> dict[str, str]:
    """For a page with Swagger UI, which sets markup and shows pictures out of its style sheet."""
    return _with_policy(_POLICY | {"img-src": "'self' data:"})


def for_asset() -> dict[str, str]:
    """For what pages load; the policy counts where a person opens a file by itself."""
    return _with_policy({"default-src": "'none'", "frame-ancestors": "'none'"})


def for_download() -> dict[str, str]:
    """For a file of somebody's: saved, never shown, and its link told to nobody."""
    return _with_policy({"default-src": "'none'", "sandbox": "", "frame-ancestors": "'none'"})


def _with_policy(policy: dict[str, str]) -> dict[str, str]:
    joined = "; ".join(f"{name} {value}".strip() for name, value in policy.items())
    return {"Content-Security-Policy": joined, **_COMMON}
