"""REST: the application, the servers that carry it, and streams over it.

The names here are what a router may use; each loads when it is first used.
"""

from typing import TYPE_CHECKING

from ..extras import lazily

if TYPE_CHECKING:
    from ..faults.problem import problems as problems
    from .contents import of_events as of_events, of_lines as of_lines
    from .json_lines import LinesResponse as LinesResponse, lines as lines
    from .server_sent_events import events as events

__getattr__, __dir__ = lazily(
    __name__,
    {
        "..faults.problem": ("problems",),
        ".contents": ("of_events", "of_lines"),
        ".json_lines": ("LinesResponse", "lines"),
        ".server_sent_events": ("events",),
    },
)
