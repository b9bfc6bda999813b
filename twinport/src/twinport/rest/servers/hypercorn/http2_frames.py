"""Frames of one HTTP/2 connection as h2 keeps its state, with our bounds."""

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, StreamReset
from h2.exceptions import InvalidBodyLengthError, ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame

from ...settings import HttpLimits

UPLOAD_WINDOW_BYTES = 256 * 1024  # of all streams of a connection together


class Frames(H2Connection):
    """Lets a client open twice the streams that it may: we refuse the rest one by one.

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

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
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
            return self._refused(stream_id)

    def _receive_data_frame(self, frame: DataFrame) -> tuple[list[Frame], list[Event]]:
        """Reset a request whose body is not as long as it said, in the same way."""
        try:
            return super()._receive_data_frame(frame)
        except InvalidBodyLengthError:
            self.increment_flow_control_window(frame.flow_controlled_length)
            return self._refused(frame.stream_id)

    def _refused(self, stream_id: int) -> tuple[list[Frame], list[Event]]:
        self.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)
        return [], [StreamReset(stream_id=stream_id)]

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """Tell that the client leaves; the library would end what is under way (RFC 9113, 6.8)."""
        if frame.error_code != ErrorCodes.NO_ERROR:
            return super()._receive_goaway_frame(frame)
        return [], [ConnectionTerminated()]


def goaway(last_stream_id: int, code: ErrorCodes) -> bytes:
    """Return the frame itself: the library's own call forbids answers that are under way."""
    frame = GoAwayFrame(0)
    frame.last_stream_id, frame.error_code = last_stream_id, code
    return frame.serialize()
