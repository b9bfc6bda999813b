"""A statistical profile of everything that the event loop runs, by pyinstrument."""

import asyncio
import threading
from typing import Any, NamedTuple

from ...errors import FailedPreconditionError
from ...extras import part

_one_at_a_time = threading.Lock()


class Profile(NamedTuple):
    """The same profile as a page with a flame graph, and as JSON for https://speedscope.app."""

    html: str
    speedscope: str


async def profile(seconds: float) -> Profile:
    """Watch for `seconds` what the loop does; raises FailedPreconditionError if one is watching.

    Raises MissingExtraError, too.
    """
    pyinstrument = part("pyinstrument", "a profile")  # most processes never need it
    profiler = pyinstrument.Profiler(async_mode="disabled")  # all tasks, not only this one
    if not _one_at_a_time.acquire(blocking=False):
        raise FailedPreconditionError("a profile is being taken already")
    try:
        profiler.start()
        await asyncio.sleep(seconds)
        session = profiler.stop()
    finally:
        profiler.reset()
        _one_at_a_time.release()
    return await asyncio.to_thread(_rendered, session)


def _rendered(session: Any) -> Profile:
    renderers = part("pyinstrument.renderers", "a profile")
    speedscope = renderers.SpeedscopeRenderer().render(session)
    return Profile(renderers.HTMLRenderer().render(session), speedscope)
