"""One trace: whether it is whole, and how it looks as a tree."""

from collections.abc import Iterator, Sequence
from typing import Any

Span = dict[str, Any]


def problem_of(spans: Sequence[Span], services: set[str]) -> str:
    """Say why these spans are not one whole trace through all `services`; empty if they are."""
    ids = {span["id"] for span in spans}
    roots = [span for span in spans if span.get("parentId") not in ids]
    absent = services - {service_of(span) for span in spans}
    if absent:
        return f"no span of {', '.join(sorted(absent))} arrived"
    if len({span["traceId"] for span in spans}) > 1:
        return "there are several traces"
    if len(roots) > 1:
        return f"{len(roots)} spans have no parent: {', '.join(span['name'] for span in roots)}"
    unanswered = [span["name"] for span in spans if not _is_answered(span, spans)]
    return f"no server span below the call {', '.join(unanswered)}" if unanswered else ""


def tree(spans: Sequence[Span]) -> Iterator[str]:
    """Yield a line for each span, indented below its parent, with its duration."""
    ids = {span["id"] for span in spans}
    for span in _in_order(spans):
        if span.get("parentId") not in ids:
            yield from _branch(span, spans, "", "")


def service_of(span: Span) -> str:
    """Return the name of the service that sent `span`."""
    name: str = span["localEndpoint"]["serviceName"]
    return name


def _is_answered(span: Span, spans: Sequence[Span]) -> bool:
    """Tell whether another service has answered the call, if `span` is one."""
    below = [each for each in spans if each.get("parentId") == span["id"]]
    others = [each for each in below if each["kind"] == "SERVER"]
    return span.get("kind") != "CLIENT" or any(service_of(o) != service_of(span) for o in others)


def _branch(span: Span, spans: Sequence[Span], first: str, rest: str) -> Iterator[str]:
    text = f"{first}{span['name']} ({span.get('kind', 'internal').lower()})"
    yield f"{service_of(span):<12}{span['duration'] / 1000:9.1f} ms  {text}"
    below = _in_order([each for each in spans if each.get("parentId") == span["id"]])
    for child in below:
        is_last = child is below[-1]
        yield from _branch(
            child, spans, rest + ("└─ " if is_last else "├─ "), rest + ("   " if is_last else "│  ")
        )


def _in_order(spans: Sequence[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: span["timestamp"])
