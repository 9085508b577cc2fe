"""Giving tokens back to their issuer (RFC 7009)."""

from collections.abc import Callable

from backupexport_cli.login.issuer import IssuerClient, IssuerUnreachableError
from backupexport_cli.login.tokens import Tokens


def revoke(tokens: Tokens, trace: Callable[[str], None]) -> str:
    """Ask the issuer to end the login, and return a sentence that says what came of it.

    A token that the issuer has taken back is still good where only its signature is checked, as
    the api does, until it expires: it is the refresh token that ends.
    """
    if tokens.origin is None:
        return "Nobody was told: whoever has a copy of the token can use it until it expires."
    endpoint = tokens.origin.revocation_endpoint
    if endpoint is None:
        return (
            "The issuer has no way to take tokens back: whoever has a copy can use it until it"
            " expires."
        )
    revoked = tokens.refresh_token or tokens.value
    hint = "refresh_token" if tokens.refresh_token else "access_token"
    form = {"token": revoked, "token_type_hint": hint, "client_id": tokens.origin.client_id}
    try:
        with IssuerClient(trace) as client:
            answer = client.post(endpoint, form)
    except IssuerUnreachableError as error:
        return f"The issuer could not be told: {error}."
    if answer.status == 200:
        return "The issuer has ended the login."
    return f"The issuer did not end the login ({answer.told()})."
