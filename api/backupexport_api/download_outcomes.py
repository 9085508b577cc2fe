"""How a download ends."""

from typing import Literal, get_args

Outcome = Literal["complete", "vanished", "stalled", "failed", "interrupted"]
"""`vanished`: the client closed the connection; `stalled`: it took nothing for too long;
`failed`: the volume did; `interrupted`: this process ended.
"""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
