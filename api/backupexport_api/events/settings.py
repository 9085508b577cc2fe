"""The settings of event streams."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class EventSettings(BaseSettings):
    """How many event streams there may be, and how long one lasts."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    most_event_streams: int = Field(default=1000, ge=0, le=100_000)
    """How many streams of events one replica serves at once."""
    # All who watch one job may come with one service's token, hundreds of them; that service must
    # still leave places for others.
    most_event_streams_each: int = Field(default=500, ge=1, le=100_000)
    """How many of them each sub may have."""
    event_heartbeat_seconds: float = Field(default=15, ge=0.05, le=300)
    """After how long a silence an event stream shows that it lives."""
    event_stream_seconds: float = Field(default=3600, ge=0.05, le=86400)
    """After how long, or after a part of that, an event stream ends and its client comes back,
    maybe to another replica."""
