"""What schemathesis has to know of `application/jsonl`: one JSON document a line."""

import json

import schemathesis
from schemathesis.core import NOT_SET

LINES = "application/jsonl"


@schemathesis.serializer(LINES)
def line(context, value):
    """Send what was made from the schema of a line as a body of one line."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.deserializer(LINES)
def first(context, response):
    """Read the first line of an answer: the schema describes one line."""
    return json.loads(response.content.splitlines()[0])


@schemathesis.hook
def filter_case(context, case):
    """Leave out a stream of no lines: its answer has none either, so nothing to be checked."""
    return case.media_type != LINES or case.body is not NOT_SET
