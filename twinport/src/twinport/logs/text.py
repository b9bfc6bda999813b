"""A line as text for people: aligned, coloured on a terminal."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache

from .line import Line

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
# Control characters in a message could repaint the terminal, a line's end in it forge a line.
CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
FRAME = re.compile(r'^(\s*)File "(.+?)", line (\d+), in (.+)$', re.MULTILINE)
RAISED = re.compile(
    r"^([\s|+]*)([\w.]+(?:Error|Exception|Group|Exit|Interrupt|Warning)\b)", re.MULTILINE
)


def plain(line: Line) -> bytes:
    """Return the line as UTF-8 text with its end of line; made once."""
    line.text = line.text or _encoded(_plain(line))
    return line.text


def coloured(line: Line) -> bytes:
    """Return the same for a terminal; made once."""
    line.coloured = line.coloured or _encoded(_coloured(line))
    return line.coloured


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _plain(line: Line) -> str:
    head = f"{_time(line)} {line.level:<8} {_short(line.logger):<{LOGGER_WIDTH}} {_message(line)}"
    more = "".join(f"  {key}={value}" for key, value in _details(line).items())
    return f"{head}{more}\n{_indented(line)}"


def _coloured(line: Line) -> str:
    level = COLOURS.get(line.level, BOLD)
    head = f"{GREEN}{_time(line)}{RESET} {level}{line.level:<8}{RESET}"
    name = f"{CYAN}{_short(line.logger):<{LOGGER_WIDTH}}{RESET}"
    more = "".join(f"  {DIM}{key}={RESET}{value}" for key, value in _details(line).items())
    return f"{head} {name} {level}{_message(line)}{RESET}{more}\n{_painted(line)}"


def _time(line: Line) -> str:
    return datetime.fromtimestamp(line.at).isoformat(" ", "milliseconds")  # the clock of people


def _short(logger: str) -> str:
    return logger if len(logger) <= LOGGER_WIDTH else f"…{logger[1 - LOGGER_WIDTH :]}"


def _message(line: Line) -> str:
    return _visible(line.message).replace("\n", "\n    ")


def _visible(text: str) -> str:
    return text if text.isprintable() else text.translate(CONTROL)


def _details(line: Line) -> Mapping[str, str]:
    labels = {
        _visible(str(key)): _visible(str(value)) for key, value in (line.labels or {}).items()
    }
    duration_ns, trace_id = line.fields.get("event.duration"), line.fields.get("trace.id")
    took = {} if duration_ns is None else {"took": f"{duration_ns / 1e6:.1f}ms"}
    return {**labels, **took, **({"trace.id": trace_id} if trace_id else {})}


def _indented(line: Line) -> str:
    short = _libraries(line.package).sub(_counted, line.stack)
    return re.sub("^(?=.)", "    ", _visible(short), flags=re.MULTILINE)


@cache
def _libraries(package: str) -> re.Pattern[str]:
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


def _painted(line: Line) -> str:
    where = rf'\1File "{GREEN}\2{RESET}", line {YELLOW}\3{RESET}, in {MAGENTA}\4{RESET}'
    return RAISED.sub(rf"\1{RED}{BOLD}\2{RESET}", FRAME.sub(where, _indented(line)))
