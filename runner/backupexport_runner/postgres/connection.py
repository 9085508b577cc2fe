"""The connection to the database, read from the values of the target's Secret.

Each value comes from the first of these that has it: the ExportTarget itself (`spec.connection`,
`spec.sslmode`, `spec.sslrootcert`), a key that `spec.keys` names, a part of the URI that it
names, a well-known key, a part of the well-known URI.  So a Secret of CloudNativePG, which holds
everything twice, needs no configuration.

TLS is never dropped in silence: of several `sslmode` in the Secret the strictest holds, and only
the ExportTarget itself may ask for less.  Where nothing is said it is `require`, and `verify-full`
with a root certificate: libpq's own default (`prefer`) falls back to no encryption
(https://www.postgresql.org/docs/current/libpq-ssl.html).  `verify-full` without a root certificate
uses the system's.  A URI's parameters are obeyed or refused by name; those of other drivers that
say nothing of the way are left out, and the log names them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode

from backupexport_runner.postgres.connection_uri import (
    SSLMODES,
    UnsupportedParameterError,
    asks_for_tls,
    read_uri,
)
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.secret import Secret

SYSTEM_CERTIFICATES = "system"

_DEFAULT_PORT = "5432"
# CloudNativePG writes this as the database of a superuser's Secret.
_ANY_DATABASE = ("database", "*")
_CERTIFICATE = r"-----BEGIN (?:TRUSTED )?CERTIFICATE-----"
_PRIVATE_KEY = r"-----BEGIN (?:\w+ )*PRIVATE KEY-----"
_NAMES = ("host", "port", "username", "database", "sslmode")
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_LONGEST_HOST = 254

# The well-known keys are libpq's keywords, too, which are the parts of a URI
# (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS).
_LOGICAL_OF_KEYWORD = {
    key: logical for logical, keys in protocol.SECRET_KEYS.items() for key in keys
}
_TAKEN = {
    "target_session_attrs",
    "load_balance_hosts",
    "sslcertmode",
    "channel_binding",
    "require_auth",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "sslnegotiation",
    "sslsni",
}
# The runner has its own values for these, and none changes where or how safely it connects
# (gssencmode=require would, and is refused).
_IGNORED = {
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "connect_timeout",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "sslcompression",
    "tcp_user_timeout",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """A login to one database.

    `sslrootcert` is PEM or `system`, `sslcert` and `sslkey` are PEM; `more` are other keywords of
    libpq; `ignored` are the names of a URI's parameters that are other drivers' and change nothing.
    """

    host: str
    port: str
    username: str
    database: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "require"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = field(default=None, repr=False)
    more: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def verifies_server(self) -> bool:
        """Whether the server needs a certificate that is to be trusted.

        With a root certificate `require` is `verify-ca`
        (https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES).
        """
        return self.sslmode.startswith("verify-") or (
            self.sslmode == "require" and self.sslrootcert is not None
        )


def hidden_values(secret: Secret, clear: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns every value of the Secret: those to hide anywhere, and names and numbers.

    What is `clear`, because it stands in a resource, is no secret.
    """
    secrets: list[str] = []
    names: list[str] = []
    for part, value in _values_by_part(secret):
        if part == "uri":
            secrets.append(value.strip())
            try:
                uri = read_uri(value.strip())
            except UnsupportedParameterError as unsupported:
                names += {*re.split("[^A-Za-z0-9_.-]+", value)} - {unsupported.name}
            except ValueError:
                names += re.split("[^A-Za-z0-9_.-]+", value)
            else:
                for keyword, text in uri.parts.items():
                    (secrets if "pass" in keyword else names).append(text)
                names += uri.ignored.values()
        elif part in _NAMES:
            names += [value.strip(), *value.strip().split(",")]
        else:
            secrets.append(value.rstrip("\r\n"))
    known = {*clear, *SSLMODES}
    return secrets, [name for name in names if name not in known]


def in_the_clear(environment: Mapping[str, str]) -> list[str]:
    """Returns what the target itself says, and so is no secret."""
    said = [environment.get(name, "") for name in protocol.ENV_CONNECTION.values()]
    return [environment.get(protocol.ENV_SECRET_NAME, ""), *filter(None, said)]


def read_connection(environment: Mapping[str, str], secret: Secret) -> Connection:
    """Returns the connection.  Raises Failure(SECRET_INVALID) that names the keys."""
    return _Reader(environment, secret).connection()


def _values_by_part(secret: Secret) -> Iterable[tuple[str, str]]:
    part_of = {key: part for part, keys in protocol.SECRET_KEYS.items() for key in keys}
    yield from secret.chosen.items()
    for key, value in secret.well_known.items():
        yield part_of.get(key, key), value


class _Reader:
    """Reads one Secret; `_sources` are its values in the order in which they win."""

    def __init__(self, environment: Mapping[str, str], secret: Secret) -> None:
        self._whose = whose(environment)
        chosen = _values({part: [secret.chosen.get(part, "")] for part in protocol.SECRET_KEYS})
        well_known = _values(
            {
                part: [secret.well_known.get(key, "") for key in keys]
                for part, keys in protocol.SECRET_KEYS.items()
            }
        )
        self._target = {
            part: protocol.from_pieces(name, environment).strip()
            for part, name in protocol.ENV_CONNECTION.items()
        }
        attributes = environment.get(protocol.ENV_TARGET_SESSION_ATTRS)
        self._more = {"target_session_attrs": attributes} if attributes else {}
        self._must_verify = bool(environment.get(protocol.ENV_REQUIRE_VERIFIED_TLS))
        self._uri_problem: Failure | None = None
        self._ignored: list[str] = []
        of_chosen = self._uri_parts(chosen.get("uri"))
        well_known_uris = [secret.well_known.get(key, "") for key in protocol.SECRET_KEYS["uri"]]
        self._uris = [of_chosen, *map(self._uri_parts, well_known_uris)]
        self._sources = [self._target, chosen, of_chosen, well_known, *self._uris[1:]]

    def connection(self) -> Connection:
        needed = ("host", "username", "database", "password")
        if self._uri_problem and not all(map(self._find, needed)):
            raise self._uri_problem
        sslrootcert = self._sslrootcert()
        sslmode = self._sslmode() or ("verify-full" if sslrootcert else "require")
        sslcert, sslkey = self._client_certificate()
        if sslrootcert is None and sslmode == "verify-full":
            sslrootcert = SYSTEM_CERTIFICATES
        if sslrootcert is None and sslmode == "verify-ca":
            raise self._invalid(
                "holds no sslrootcert, which sslmode verify-ca needs: add the certificate "
                "authority's certificates in PEM to it or to the ExportTarget"
            )
        connection = Connection(
            host=self._host(),
            port=self._port(),
            username=self._required("username"),
            database=self._required("database"),
            password=self._find("password"),
            sslmode=sslmode,
            sslrootcert=sslrootcert,
            sslcert=sslcert,
            sslkey=sslkey,
            more=self._more,
            ignored=tuple(dict.fromkeys(self._ignored)),
        )
        if self._must_verify and not connection.verifies_server:
            raise self._invalid(
                f"leads to a server that is not verified (sslmode {sslmode}), which this "
                "installation refuses: add the authority's certificates as sslrootcert, or say "
                "sslmode verify-full"
            )
        return connection

    def _find(self, logical: str) -> str | None:
        return next((source[logical] for source in self._sources if source.get(logical)), None)

    def _required(self, logical: str) -> str:
        value = self._find(logical)
        if value is None:
            looked_for = ", ".join((*protocol.SECRET_KEYS[logical], *protocol.SECRET_KEYS["uri"]))
            raise self._invalid(
                f"names no {logical} (looked for the keys {looked_for}): add one of them, or "
                "say with spec.keys of the ExportTarget which key holds it"
            )
        if not value.isprintable():
            raise self._invalid(f"has a control character in its {logical}: write it again")
        return value

    def _host(self) -> str:
        # Before it is looked up: what is no name may be a secret from another key.
        hosts = self._required("host").split(",")
        host = self._whole_name(",".join(re.sub(r"^\[(.*)\]$", r"\1", each) for each in hosts))
        if not all(map(_is_host, host.split(","))):
            raise self._invalid(
                "has a host that is neither a host name nor an IP address (nor several, with "
                "commas between): correct it"
            )
        return host

    def _whole_name(self, host: str) -> str:
        # CloudNativePG's host is known in its own namespace alone, where another server may have
        # that name; its URIs say the namespace, too.
        if self._target["host"] or "." in host:
            return host
        named = (parts.get("host", "") for parts in self._uris)
        return next((name for name in named if name.startswith(f"{host}.")), host)

    def _port(self) -> str:
        port = self._find("port") or _DEFAULT_PORT
        # libpq takes a list, one port for each host, and an empty one for the usual port.
        ports = [part or _DEFAULT_PORT for part in port.split(",")]
        for part in ports:
            if not re.fullmatch("[0-9]{1,5}", part) or not 1 <= int(part) <= 65535:
                raise self._invalid("has a port that is no number from 1 to 65535: correct it")
        return ",".join(ports)

    def _sslmode(self) -> str | None:
        asked = [source["sslmode"] for source in self._sources if source.get("sslmode")]
        if not set(asked) <= set(SSLMODES):
            raise self._invalid(f"has an unknown sslmode: use one of {', '.join(SSLMODES)}")
        return self._target["sslmode"] or max(asked, key=SSLMODES.index, default=None)

    def _sslrootcert(self) -> str | None:
        certificates = self._find("sslrootcert")
        if (
            certificates is None
            or certificates == SYSTEM_CERTIFICATES
            or (re.search(_CERTIFICATE, certificates))
        ):
            return certificates
        raise self._invalid(
            "has an sslrootcert that is not PEM text (the runner has no files of yours): put "
            "the certificates themselves there, or into sslrootcert of the ExportTarget"
        )

    def _client_certificate(self) -> tuple[str | None, str | None]:
        certificate, key = self._find("sslcert"), self._find("sslkey")
        for part, value, pattern in (
            ("sslcert", certificate, _CERTIFICATE),
            ("sslkey", key, _PRIVATE_KEY),
        ):
            if value is None and (certificate or key):
                raise self._invalid(
                    f"holds a client certificate without its {part}: sslcert and sslkey go together"
                )
            if value is not None and not re.search(pattern, value):
                raise self._invalid(
                    f"has an {part} that is not PEM text (the runner has no files of yours): put "
                    "the PEM text itself there"
                )
        if key is not None and "ENCRYPTED" in key:
            raise self._invalid("has an sslkey with a passphrase: put it there without one")
        return certificate, key

    def _uri_parts(self, uri: str | None) -> dict[str, str]:
        uri = (uri or "").strip()
        if not uri:
            return {}
        try:
            read = read_uri(uri)
        except UnsupportedParameterError as unsupported:
            raise self._unsupported(unsupported.name) from None
        except ValueError:
            # It may be for another kind of client, and the Secret may have everything without it;
            # but what it says of TLS must not get lost.
            if asks_for_tls(uri):
                raise self._invalid(
                    "has a uri that libpq can't read, and that says something about TLS: write it "
                    "as libpq takes it, or say with spec.keys.uri which key holds another one"
                ) from None
            # libpq's own message can repeat a piece of the password.
            self._uri_problem = self._invalid(
                "has a uri that libpq can't read: begin it with postgresql://, check its "
                "parameters, and percent-encode special characters of the password"
            )
            return {}
        parts = read.parts
        self._ignored += read.ignored
        unknown = sorted(set(parts) - _LOGICAL_OF_KEYWORD.keys() - _TAKEN - _IGNORED)
        if parts.get("gssencmode") == "require":
            unknown.append("gssencmode")
        if unknown:
            raise self._unsupported(unknown[0])
        for keyword in sorted(_TAKEN & set(parts)):
            self._more.setdefault(keyword, parts[keyword])
        known = _LOGICAL_OF_KEYWORD.keys() & parts.keys()
        return _cleaned({_LOGICAL_OF_KEYWORD[keyword]: parts[keyword] for keyword in known})

    def _unsupported(self, parameter: str) -> Failure:
        return self._invalid(
            f"has a uri with the parameter {parameter}, which exports don't support: remove it "
            "there, or say with spec.keys.uri which key holds another uri"
        )

    def _invalid(self, problem: str) -> Failure:
        return Failure(ExitCode.SECRET_INVALID, f"{self._whose} {problem}.")


def whose(environment: Mapping[str, str]) -> str:
    """Returns what sentences about the target's Secret begin with."""
    name = environment.get(protocol.ENV_SECRET_NAME)
    return f'The target\'s Secret "{name}"' if name else "The target's Secret"


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        # RFC 1123, and underscores, which some networks' names have.
        return len(text) <= _LONGEST_HOST and re.fullmatch(_HOST_NAME, text) is not None
    return True


def _values(given: Mapping[str, Iterable[str]]) -> dict[str, str]:
    # `echo value | base64` leaves a newline at the end, which is never meant.
    return _cleaned(
        {
            part: next(filter(None, (value.rstrip("\r\n") for value in values)), "")
            for part, values in given.items()
        }
    )


def _cleaned(values: dict[str, str]) -> dict[str, str]:
    clean = (
        (logical, value if logical in ("username", "password", "database") else value.strip())
        for logical, value in values.items()
    )
    return dict(each for each in clean if each[1] and each != _ANY_DATABASE)
