"""The access log: the one line of every finished call, with the same fields on both transports.

It goes past loguru, and its JSON is written by hand: of all that watches a call this was dearest.
Only what somebody else has chosen has to be quoted by an encoder.
"""

from dataclasses import dataclass
from functools import lru_cache

from ..calls import Call
from ..errors import outcome_of, row_of
from ..redact import Redactor
from .formats import NUMBERS, Line, quoted, stamp

LOGGER = "access"
MOST_KEPT = 1024  # of what is remembered
LONGEST_KEPT = 256  # characters: what a caller chose costs memory


@dataclass(frozen=True, slots=True)
class Part:
    """What many calls have in common: level and message, and most of the fields as JSON."""

    level: str
    level_no: int
    message: str
    fields: str


class Access:
    """Writes the lines; `common` is the end of each as JSON."""

    def __init__(self, redactor: Redactor, common: bytes) -> None:
        self._masked, self._common = redactor.text, common
        remember = lru_cache(maxsize=MOST_KEPT)
        self._kept_http_part = remember(self._http_part)
        self._kept_grpc_part = remember(self._grpc_part)
        self._kept_caller = remember(self._caller)

    def part_of(self, call: Call) -> Part:
        """Return what `call` has in common with others; ERROR is for what is to be mended."""
        if call.transport == "grpc":
            return self._kept_grpc_part(call.method, call.code)
        make = self._kept_http_part if len(call.path) <= LONGEST_KEPT else self._http_part
        return make(call.method, call.path, call.route, call.status, call.code)

    def json_of(self, call: Call, part: Part) -> bytes:
        """Return the line as JSON with the names of ECS, and where it has none, OpenTelemetry's."""
        agent, trace_id, request_id = call.user_agent, call.trace_id, call.request_id
        is_short = agent is None or len(agent) <= LONGEST_KEPT
        caller = (self._kept_caller if is_short else self._caller)(call.peer, agent)
        if call.principal is not None:
            caller += f',"user.name":{quoted(str(call.principal))}'
        if call.reason:
            caller += f',"event.reason":{quoted(call.reason)}'
        is_ours = request_id == trace_id
        request = f'"{trace_id}"' if is_ours else quoted(self._masked(request_id))
        line = (
            f'{{"@timestamp":"{stamp(call.started_unix_ns + call.duration_ns)}",{part.fields}'
            f',"trace.id":"{trace_id}","span.id":"{call.span_id}"'
            f',"event.duration":{call.duration_ns},"http.request.id":{request}'
            f',"http.request.body.bytes":{call.received_bytes}'
            f',"http.response.body.bytes":{call.sent_bytes}{caller}'
        )
        return line.encode() + self._common

    def _http_part(self, method: str, path: str, route: str | None, status: int, code: str) -> Part:
        """Return what depends on nothing else; the same calls come often."""
        method, path = self._masked(method), self._masked(path)
        action = f"{method} {route}" if route else method
        fields = (
            f'"event.action":{quoted(action)},"network.protocol":"http"'
            f',"http.request.method":{quoted(method)},"http.route":{quoted(route)}'
            f',"http.response.status_code":{status},"url.path":{quoted(path)}'
        )
        return _part(f"{method} {path} {status}", code, status, fields)

    def _grpc_part(self, method: str, code: str) -> Part:
        """Return what depends on nothing else; there are few methods."""
        method = self._masked(method)
        name = quoted(method)
        fields = (
            f'"event.action":{name},"network.protocol":"grpc"'
            f',"rpc.system.name":"grpc","rpc.method":{name},"rpc.response.status_code":"{code}"'
        )
        return _part(f"{method} {code}", code, 0, fields)

    def _caller(self, peer: str, user_agent: str | None) -> str:
        """Return who called; there are fewer connections than calls."""
        address, _, port = peer.rpartition(":")
        caller = f',"client.address":{quoted(address.strip("[]") or peer)}'
        if port.isdecimal() and port != "0":  # a proxy names addresses, and hardly ever a port
            caller += f',"client.port":{port}'
        agent = None if user_agent is None else self._masked(user_agent)
        return f'{caller},"user_agent.original":{quoted(agent)}'


def line_of(call: Call, part: Part) -> Line:
    """Return the line for people."""
    ended_ns = call.started_unix_ns + call.duration_ns
    line = Line(ended_ns / 1e9, part.level, part.level_no, LOGGER, part.message)
    line.fields = {"event.duration": call.duration_ns, "trace.id": call.trace_id}
    if call.reason:
        line.labels = {"reason": call.reason}
    return line


def _part(message: str, code: str, status: int, more: str) -> Part:
    level = row_of(code).level
    fields = (
        f'"log.level":"{level.lower()}","message":{quoted(message)},"log.logger":"{LOGGER}"'
        f',"event.code":"{code}","event.outcome":"{outcome_of(code, status)}",{more}'
    )
    return Part(level, NUMBERS[level], message, fields)
