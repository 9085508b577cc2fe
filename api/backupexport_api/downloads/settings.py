"""The settings of downloads and links."""

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from backupexport_contract.storages import Storages
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backupexport_api.auth.secret_files import SecretFiles, read_previous, read_secret
from backupexport_api.downloads.links import LEAST_SECONDS, MOST_SECONDS, SHORTEST_SECRET


class DownloadSettings(BaseSettings):
    """Where files are stored, how many downloads there may be, and how links are made."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    exports_directory: Path | None = None
    """Where the volume with the exports is mounted; read-only will do. Downloads are off unless
    given."""
    exports_claim: str = ""
    """The claim of that volume; it has no files that are known to lie on another one."""
    storages: Storages = Field(default_factory=dict)
    """The other storages that files are fetched from, in JSON, by name: each is as in the chart's
    storages."""
    storages_directory: Path = Path("/storages")
    """Has a directory for each of these that is a bucket, by its name, with its Secret's keys as
    files; read again when they change."""
    volumes_directory: Path = Path("/volumes")
    """Where each of these that is a volume is mounted, by its name; read-only will do."""
    most_downloads: int = Field(default=100, ge=1, le=10000)
    """How many downloads one replica carries at once."""
    most_downloads_each: int = Field(default=40, ge=1, le=10000)
    """How many of them each sub may have, and all links to files of one project. All links together
    leave so many places, or half of all, to those with a token."""
    download_stall_seconds: float = Field(default=120, ge=1, le=3600)
    """How long a client may take less than 128 KiB of its download before it is cut off."""
    link_secret_file: Path | None = None
    """A file that holds what links are signed with; wins over BACKUPEXPORT_LINK_SECRET. Read again
    when it changes."""
    link_secret: SecretStr = Field(default=SecretStr(""), validate_default=True)
    """What links to downloads are signed with, at least 32 characters; never the secret of the
    tokens. There are no links unless given."""
    link_secret_previous_file: Path | None = None
    """A file that holds what they were signed with before; it may be missing. Read again when it
    changes."""
    link_max_seconds: int = Field(default=MOST_SECONDS, ge=LEAST_SECONDS, le=MOST_SECONDS)
    """How long a link may be good at most."""
    public_url: str = ""
    """Where clients reach the API, for links, such as https://exports.example.com; links are paths
    unless given."""

    @field_validator("link_secret")
    @classmethod
    def _secret_of_its_own(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        # It may come from a file that ends with a newline.
        secret = value.get_secret_value().rstrip("\r\n")
        if (file := info.data.get("link_secret_file")) is not None:
            try:
                secret = read_secret(file)
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"can't read {file}: {type(error).__name__}") from None
        _check_length(secret)
        tokens: SecretStr | None = info.data.get("jwt_secret")
        if secret and tokens and secret == tokens.get_secret_value():
            raise ValueError("must not be BACKUPEXPORT_JWT_SECRET(_FILE): make one of its own")
        return SecretStr(secret)

    @field_validator("link_secret_previous_file")
    @classmethod
    def _usable_previous_link_secret(cls, value: Path | None) -> Path | None:
        _check_length(read_previous(value))
        return value

    @field_validator("public_url")
    @classmethod
    def _base_of_links(cls, value: str) -> str:
        if not value:
            return value
        try:
            url = urlsplit(value)
        except ValueError:
            raise ValueError("is not a URL") from None
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be a URL that starts with https:// or http://")
        if url.username or url.password or url.query or url.fragment:
            raise ValueError("must not hold a user name, a query or a fragment")
        return value.rstrip("/")


def link_secrets(settings: DownloadSettings) -> Callable[[], Sequence[str]]:
    """Return what tells the secrets of links now: the first signs, a link by any is good."""
    file, previous = settings.link_secret_file, settings.link_secret_previous_file
    secret = settings.link_secret.get_secret_value()

    def read() -> list[str]:
        found = [secret if file is None else read_secret(file), read_previous(previous)]
        for one in found:
            _check_length(one)
        return [one for one in found if one]

    return SecretFiles([path for path in (file, previous) if path], read).current


def _check_length(secret: str) -> None:
    if 0 < len(secret) < SHORTEST_SECRET:
        raise ValueError(f"must be at least {SHORTEST_SECRET} characters long")
