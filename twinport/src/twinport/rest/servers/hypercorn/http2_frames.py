"""Received HTTP/2 frames: malformed requests, refused streams, and floods such as rapid reset.

CVE-2019-9512 to 9518, CVE-2023-44487.
"""

from collections.abc import Sequence

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import InvalidBodyLengthError, ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame

from ...settings import HttpLimits

UPLOAD_WINDOW_BYTES = 256 * 1024  # of all streams of a connection together

Received = tuple[list[Frame], list[events.Event]]  # frames to send, and what has happened


class HardenedH2Connection(H2Connection):
    """h2's state of a connection; a client may open twice its streams: we refuse the rest singly.

    A client may not know our limit yet; the library would end the connection with all its requests.
    """

    def __init__(self, limits: HttpLimits) -> None:
        super().__init__(H2Configuration(client_side=False, header_encoding=None))
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
