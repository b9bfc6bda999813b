"""A profile of the running process, for whoever may look into it."""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from ..errors import UnimplementedError
from ..extras import MissingExtraError
from ..traces.profiling import profile
from ..validation import parsed

LONGEST_S = 60


class Wish(BaseModel):
    """What is asked for in the query; `seconds` to watch, and the format, which Accept may say."""

    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)] = 10
    format: Literal["html", "speedscope"] | None = None


async def profiled(request: Request) -> Response:
    """Watch the process and answer with its profile.

    Raises InvalidArgumentError, and UnimplementedError where the extra is not installed.
    """
    wish = parsed(Wish, json.dumps(dict(request.query_params)).encode())
    try:
        taken = await profile(wish.seconds)
    except MissingExtraError as error:
        raise UnimplementedError(str(error)) from error
    if (wish.format or _accepted(request)) == "html":
        return Response(taken.html, media_type="text/html")
    return Response(taken.speedscope, media_type="application/json")


def _accepted(request: Request) -> str:
    return "speedscope" if "application/json" in request.headers.get("accept", "") else "html"
