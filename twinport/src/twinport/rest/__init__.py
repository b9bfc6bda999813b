"""REST: the application, the servers that carry it, and streams over it.

The names here are what a router may use; each loads when it is first used.
"""

from typing import TYPE_CHECKING

from ..extras import lazily

if TYPE_CHECKING:
    from ..faults import problems as problems
    from .streams import (
        EventsResponse as EventsResponse,
        LinesResponse as LinesResponse,
        events as events,
        lines as lines,
        of_events as of_events,
        of_lines as of_lines,
    )

__getattr__, __dir__ = lazily(
    __name__,
    {
        "..faults": ("problems",),
        ".streams": ("EventsResponse", "LinesResponse", "events", "lines", "of_events", "of_lines"),
    },
)
