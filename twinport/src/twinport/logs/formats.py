"""Lines of the log, and their formats: JSON by the Elastic Common Schema, and aligned text."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from time import gmtime, strftime, time
from types import MappingProxyType
from typing import Any

import orjson

from ..redact import ESCAPES, visible, written
from ..settings import Identity
from .settings import Level

NUMBERS: Mapping[str, int] = {  # loguru's
    "TRACE": 5,
    "DEBUG": 10,
    "INFO": 20,
    "SUCCESS": 25,
    "WARNING": 30,
    "ERROR": 40,
    "CRITICAL": 50,
    "OFF": 1000,
}
ROOT = ""

VERSION = "8.11.0"
SECOND_US = 10**6
DIGITS = tuple(f"{number:03}" for number in range(1000))  # cheaper than to format
LABEL_KEY = str.maketrans({".": "_", "*": "_", "\\": "_"})

RESET, DIM, BOLD, RED = "\033[0m", "\033[2m", "\033[1m", "\033[31m"
GREEN, YELLOW, BLUE, MAGENTA, CYAN = ("\033[32m", "\033[33m", "\033[34m", "\033[35m", "\033[36m")
COLOURS: Mapping[str, str] = {  # loguru's own
    "TRACE": CYAN + BOLD,
    "DEBUG": BLUE + BOLD,
    "INFO": BOLD,
    "SUCCESS": GREEN + BOLD,
    "WARNING": YELLOW + BOLD,
    "ERROR": RED + BOLD,
    "CRITICAL": "\033[41m" + BOLD,
}
LOGGER_WIDTH = 24
DEL = b"\x7f"
ESCAPES_OF_BLOCKS = {code: text for code, text in ESCAPES.items() if chr(code) not in "\t\n"}
ESCAPES_OF_JSON = {code: f"\\u{code:04x}" for code in ESCAPES}
FRAME = re.compile(r'^(\s*)File "(.+?)", line (\d+), in (.+)$', re.MULTILINE)
RAISED = re.compile(
    r"^([\s|+]*)([\w.]+(?:Error|Exception|Group|Exit|Interrupt|Warning)\b)", re.MULTILINE
)


def is_below(logger: str, ancestor: str) -> bool:
    """Return whether `logger` is `ancestor` or one of those below it."""
    return ancestor in {logger, ROOT} or logger.startswith(f"{ancestor}.")


class Line:
    """What one record says; `fields` have names of the Elastic Common Schema, `labels` our own.

    `stack` is the traceback of `error`, in which the frames of `package` are the service's own, or
    what else stands below the line; all else is on the line itself.
    `at` is in seconds since 1970. `common` is the end of the JSON, the same in every line of the
    process. `json` is the line as JSON, made once if some sink asks for it.
    """

    fields: Mapping[str, Any] = MappingProxyType({})
    labels: Mapping[str, Any] | None = None
    error: BaseException | None = None
    stack: str = ""
    package: str = ""
    common: bytes = b"}\n"
    json: bytes | None = None

    def __init__(self, at: float, level: str, level_no: int, logger: str, message: str) -> None:
        self.at, self.level, self.level_no = at, level, level_no
        self.logger, self.message = logger, message


def now(level: Level, logger: str, message: str) -> Line:
    """Return a line of this moment."""
    return Line(time(), level, NUMBERS[level], logger, message)


def origin(file: str, line: int, function: str | None) -> dict[str, Any]:
    """Return the fields that say where in the code a line comes from."""
    return {
        "log.origin.file.name": file,
        "log.origin.file.line": line,
        "log.origin.function": function,
    }


def common(identity: Identity) -> bytes:
    """Return the end of each line: the fields that are the same in every one of this process."""
    fields = {
        "ecs.version": VERSION,
        "service.name": identity.name,
        "service.version": identity.version,
        "service.environment": identity.environment,
        "service.node.name": identity.instance,
        "event.dataset": f"{identity.name}.log",
    }
    return b"," + _encoded(fields)[1:] + b"\n"


class _Clock:
    """Writes times; many lines fall into one second, which is written once."""

    def __init__(self) -> None:
        self._second = 0, "1970-01-01T00:00:00"  # one value, for any thread may write a line

    def stamp(self, at_ns: int) -> str:
        """Return a time in nanoseconds since 1970 as RFC 3339 has it, to the microsecond."""
        start_us, second = self._second
        since_us = at_ns // 1000 - start_us
        if not 0 <= since_us < SECOND_US:
            since_us = at_ns // 1000 % SECOND_US
            second = strftime("%Y-%m-%dT%H:%M:%S", gmtime(at_ns // 1000 // SECOND_US))
            self._second = at_ns // 1000 - since_us, second
        return f"{second}.{DIGITS[since_us // 1000]}{DIGITS[since_us % 1000]}Z"


stamp = _Clock().stamp


def as_json(line: Line) -> bytes:
    """Return the line as JSON with its end of line; made once."""
    if line.json is None:
        line.json = _encoded(_document(line))[:-1] + line.common
    return line.json


def quoted(text: str | None) -> str:
    """Return a text as JSON has it."""
    return _encoded(text).decode()


def _document(line: Line) -> dict[str, Any]:
    document = {
        "@timestamp": stamp(int(line.at * 1e9)),
        "log.level": line.level.lower(),
        "message": line.message,
        "log.logger": line.logger,
        **line.fields,
    }
    if line.labels:
        document["labels"] = {str(k).translate(LABEL_KEY): v for k, v in line.labels.items()}
    if line.stack:
        document["error.stack_trace"] = line.stack
    return document


def _encoded(value: Any) -> bytes:
    try:
        json = orjson.dumps(value, written)
    except TypeError:  # what JSON cannot hold: lone surrogates, integers of more than 64 bits
        json = orjson.dumps(_encodable(value), written)
    if json.isascii() and DEL not in json:
        return json
    return json.decode().translate(ESCAPES_OF_JSON).encode()  # JSON leaves those above 126 alone


def _encodable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_encodable(str(key)): _encodable(item) for key, item in value.items()}
    return _utf8(written(value)).decode()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def plain(line: Line) -> bytes:
    """Return the line as UTF-8 text with its end of line."""
    head = f"{_time(line)} {line.level:<8} {_short(line.logger):<{LOGGER_WIDTH}}"
    details = "".join(f"  {key}={value}" for key, value in _details(line).items())
    return _utf8(f"{head} {visible(line.message)}{details}\n{_stack(line)}")


def coloured(line: Line) -> bytes:
    """Return the same for a terminal."""
    level = COLOURS.get(line.level, BOLD)
    head = f"{GREEN}{_time(line)}{RESET} {level}{line.level:<8}{RESET}"
    name = f"{CYAN}{_short(line.logger):<{LOGGER_WIDTH}}{RESET}"
    details = "".join(f"  {DIM}{key}={RESET}{value}" for key, value in _details(line).items())
    where = rf'\1File "{GREEN}\2{RESET}", line {YELLOW}\3{RESET}, in {MAGENTA}\4{RESET}'
    stack = RAISED.sub(rf"\1{RED}{BOLD}\2{RESET}", FRAME.sub(where, _stack(line)))
    return _utf8(f"{head} {name} {level}{visible(line.message)}{RESET}{details}\n{stack}")


def _time(line: Line) -> str:
    return datetime.fromtimestamp(line.at).isoformat(" ", "milliseconds")  # the clock of people


def _short(logger: str) -> str:
    short = logger if len(logger) <= LOGGER_WIDTH else f"…{logger[1 - LOGGER_WIDTH :]}"
    return visible(short)


def _details(line: Line) -> Mapping[str, str]:
    labels = {visible(str(k)): visible(str(v)) for k, v in (line.labels or {}).items()}
    duration_ns, trace_id = line.fields.get("event.duration"), line.fields.get("trace.id")
    if duration_ns is not None:
        labels["took"] = f"{duration_ns / 1e6:.1f}ms"
    return {**labels, "trace.id": trace_id} if trace_id else labels


def _stack(line: Line) -> str:
    stack = line.stack
    if line.error is not None:  # else it is shown for what is in it
        stack = _frames_of_libraries(line.package).sub(_counted, stack)
    return re.sub("^(?=.)", "    ", stack.translate(ESCAPES_OF_BLOCKS), flags=re.MULTILINE)


@cache
def _frames_of_libraries(package: str) -> re.Pattern[str]:
    """Return what finds three frames or more between two places of interest, or before the last.

    A service may be installed beside its libraries; `package` is its own.
    """
    of_others = f"site-packages/(?!{re.escape(package)}/)"
    installed = rf"/(?:{of_others}|lib/python3\.\d+/(?!site-packages/))"
    return re.compile(
        rf'(?:^  File ".*{installed}.*\n(?:^    .*\n)*){{3,}}(?=  File ")', re.MULTILINE
    )


def _counted(frames: re.Match[str]) -> str:
    count = len(re.findall('^  File "', frames[0], re.MULTILINE))
    return f"  … {count} frames of libraries\n"
