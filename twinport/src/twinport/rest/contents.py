"""What OpenAPI says of a body that is a stream; version 3.1 has no word for the items of one."""

from typing import Any

from pydantic import TypeAdapter

LINES = "application/jsonl"
EVENTS = "text/event-stream"


def of_lines(kind: type[Any]) -> dict[str, Any]:
    """Return the content of a body that has a `kind` on each line (application/jsonl).

    For a route's `responses={200: of_lines(Quote)}`, or below `requestBody` in `openapi_extra`.
    """
    return {"content": {LINES: {"schema": TypeAdapter(kind).json_schema()}}}


def of_events(kind: type[Any], token: Any) -> dict[str, Any]:
    """Return the content of server-sent events with a `kind` as data and a `token` as id.

    For a route's `responses={200: of_events(Order, Token)}` (WHATWG HTML, 9.2).
    """
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": TypeAdapter(kind).json_schema(),
    }
    fields = {"id": TypeAdapter(token).json_schema(), "data": data}
    return {"content": {EVENTS: {"schema": {"type": "object", "properties": fields}}}}
