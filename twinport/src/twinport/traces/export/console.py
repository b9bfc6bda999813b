"""Traces on the terminal, for people without a backend."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TextIO

from opentelemetry.sdk.trace import ReadableSpan

from .tree import tree

PATIENCE_S = 5.0  # spans whose root has not ended by then are shown without it
REMEMBERED = 1000  # traces that were shown: what still comes of them is shown at once


class ConsoleExporting:
    """Writes each trace as a tree when its first span, which ends last, has ended."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        terminal = self._stream.isatty() or "FORCE_COLOR" in os.environ
        self._coloured = terminal and "NO_COLOR" not in os.environ
        self._waiting: dict[int, list[ReadableSpan]] = {}
        self._shown: deque[int] = deque(maxlen=REMEMBERED)

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Write the traces that are complete now."""
        for span in spans:
            self._waiting.setdefault(span.context.trace_id, []).append(span)
        self._show(list(self._complete()))

    def close(self) -> None:
        """Write what is left."""
        self._show(list(self._waiting))

    def _complete(self) -> Iterator[int]:
        patient_until = time.time_ns() - PATIENCE_S * 1e9
        for trace_id, spans in self._waiting.items():
            given_up = (spans[0].end_time or 0) < patient_until
            if given_up or trace_id in self._shown or any(map(_is_first, spans)):
                yield trace_id

    def _show(self, traces: list[int]) -> None:
        for trace_id in traces:
            spans = self._waiting.pop(trace_id)
            self._shown.append(trace_id)
            self._stream.write(tree(spans, coloured=self._coloured))
        self._stream.flush()


def _is_first(span: ReadableSpan) -> bool:
    return span.parent is None or span.parent.is_remote
