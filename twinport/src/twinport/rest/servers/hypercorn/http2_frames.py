"""HTTP/2 frames: malformed requests, refused streams, floods such as rapid reset; HPACK.

CVE-2019-9512 to 9518, CVE-2023-44487.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import InvalidBodyLengthError, ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame

from ...exchange import LENGTH, REQUEST_ID_NAME, TRACE_ID_NAME
from ...settings import HttpLimits

UPLOAD_WINDOW_BYTES = 256 * 1024  # of all streams of a connection together

Received = tuple[list[Frame], list[events.Event]]  # frames to send, and what has happened


class HardenedH2Connection(H2Connection):
    """h2's state of a connection; a client may open twice its streams: we refuse the rest singly.

    A client may not know our limit yet; the library would end the connection with all its requests.
    """

    def __init__(self, limits: HttpLimits) -> None:
        # What is sent is checked by HeaderEncoder, each header once.
        checked: Any = {"validate_outbound_headers": False, "normalize_outbound_headers": False}
        super().__init__(H2Configuration(client_side=False, header_encoding=None, **checked))
        self.encoder = HeaderEncoder()
        self._excess = limits.streams
        self.decoder.max_header_list_size = limits.header_size
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_size,
            },
        )

    @property
    def open_inbound_streams(self) -> int:
        """Streams that the library counts against the limit."""
        return max(0, super().open_inbound_streams - self._excess)

    @property
    def broken(self) -> bool:
        """Whether GOAWAY has ended all: ours for a mistake of the client, or the other way."""
        return self.state_machine.state is ConnectionState.CLOSED

    def initiate_connection(self) -> None:
        """Send our settings, and a window in which one slow upload does not hold up the others."""
        super().initiate_connection()
        self.increment_flow_control_window(UPLOAD_WINDOW_BYTES - self.inbound_flow_control_window)

    def _receive_frame(self, frame: Frame) -> list[events.Event]:
        """Take a frame; the library writes down all of each for a log that it does not keep."""
        vars(frame)["_body_repr"] = str
        return super()._receive_frame(frame)

    def _receive_headers_frame(self, frame: HeadersFrame) -> Received:
        """Reset a request that is malformed (RFC 9113, 8.1.1); the library would end them all.

        It counts as one that the client has cancelled, so that a flood of them is one.
        """
        stream_id = frame.stream_id
        is_request = stream_id not in self.streams  # else trailers, or worse
        try:
            return super()._receive_headers_frame(frame)
        except ProtocolError as error:
            begun = is_request and stream_id in self.streams and self.streams[stream_id].open
            if not begun or type(error) is not ProtocolError:  # its kinds are about more
                raise
            return self._reset_malformed(stream_id)

    def _receive_data_frame(self, frame: DataFrame) -> Received:
        """Reset a request whose body is not as long as it said, in the same way."""
        try:
            return super()._receive_data_frame(frame)
        except InvalidBodyLengthError:
            self.increment_flow_control_window(frame.flow_controlled_length)
            return self._reset_malformed(frame.stream_id)

    def _reset_malformed(self, stream_id: int) -> Received:
        self.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)
        return [], [events.StreamReset(stream_id=stream_id)]

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> Received:
        """Tell that the client leaves; the library would end what is under way (RFC 9113, 6.8)."""
        if frame.error_code != ErrorCodes.NO_ERROR:
            return super()._receive_goaway_frame(frame)
        return [], [events.ConnectionTerminated()]

    def goaway(self, code: ErrorCodes) -> bytes:
        """Return the frame itself: the library's own call forbids answers that are under way."""
        frame = GoAwayFrame(0)
        frame.last_stream_id, frame.error_code = self.highest_inbound_stream_id, code
        return frame.serialize()


NEVER_INDEXED, WITHOUT_INDEX = b"\x10", b"\x00"  # a literal (RFC 7541, 6.2.3, 6.2.2)
LITERALS = {  # their values are others in each answer, or nobody else's business
    TRACE_ID_NAME: NEVER_INDEXED,
    REQUEST_ID_NAME: NEVER_INDEXED,
    b"authorization": NEVER_INDEXED,
    b"proxy-authorization": NEVER_INDEXED,
    LENGTH: WITHOUT_INDEX,
}
LONGEST = 126  # of a text whose length is one byte
INDEXED = 0x80
OF_CONNECTIONS = frozenset(  # RFC 9113, 8.2.2
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te"}
)


class HeaderEncoder(Encoder):
    """HPACK that remembers the index of each header for as long as its table stays the same.

    What is new in each answer goes out as plain text, and so the table hardly ever changes. What
    has no place in HTTP/2 is left out, and names are in small letters.
    """

    def __init__(self) -> None:
        super().__init__()
        self._indexed: dict[Any, bytes] = {}

    @property
    def header_table_size(self) -> int:
        """The size of the table, which the client chooses."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        if value != self.header_table.maxsize:  # the library forgets to tell what it is told twice
            self._indexed.clear()  # less may be left of the table
            self.header_table.maxsize = value
            self.table_size_changes.append(value)

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        """Return a header block of names and values."""
        block = [super().encode([])] if self.header_table.resized else []  # tells the new size
        for header in headers:
            block.append(self._indexed.get(header) or self._encode(header, huffman))
        return b"".join(block)

    def _encode(self, header: tuple[bytes, bytes], huffman: bool) -> bytes:
        name, value = header
        literal = LITERALS.get(name)
        if literal is not None and len(value) <= LONGEST:
            return b"%b%c%b%c%b" % (literal, len(name), name, len(value), value)
        small = name.lower()
        if small in OF_CONNECTIONS:
            return b""
        encoded = self.add((small, value), literal is not None, huffman)
        if encoded[0] & INDEXED:
            self._indexed[header] = encoded
        else:
            self._indexed.clear()  # each has another index now, or is gone
        return encoded


BURST = 400.0  # tokens of a new connection, and the most that it can have
TOKENS_PER_S = 50.0
BYTES_PER_TOKEN = 4096  # what is sent earns the WINDOW_UPDATEs of its reader
TINY_BYTES = 16

FREE = 0.0
COSTS: dict[type[events.Event], float] = {
    events.RequestReceived: -1.0,  # pays for the PRIORITY and WINDOW_UPDATE that come along
    events.StreamEnded: FREE,
    events.TrailersReceived: FREE,
    events.DataReceived: FREE,  # unless it is empty or tiny
    events.WindowUpdated: 0.2,
    events.StreamReset: 2.0,  # with its request, if that came along, still one
}
OTHER = 1.0  # PING, SETTINGS, PRIORITY, GOAWAY, their acknowledgements, unknown frames


class FrameBudget:
    """A token bucket for frames that bring nothing forward; who has emptied it floods."""

    __slots__ = ("_sent", "_since", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens, self._since, self._sent = BURST, now, 0

    def spent(self, cost: float, now: float, sent: int) -> bool:
        """Take `cost`, after adding what time and `sent` bytes have earned."""
        earned = (now - self._since) * TOKENS_PER_S + (sent - self._sent) / BYTES_PER_TOKEN
        self._tokens = min(BURST, self._tokens + earned - cost)
        self._since, self._sent = now, sent
        return self._tokens < 0


def cost(frames: Sequence[events.Event]) -> float:
    """Return what `frames` cost; work that they bring along is set off against it."""
    return sum(COSTS.get(type(frame), OTHER) + _emptiness(frame) for frame in frames)


def _emptiness(frame: events.Event) -> float:
    if type(frame) is not events.DataReceived or frame.stream_ended is not None:
        return FREE
    size = len(frame.data)
    return FREE if size >= TINY_BYTES else 0.1 if size else 1.0
