"""The state of one HTTP/2 connection, as the h2 library keeps it, with our bounds."""

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

from ..settings import HttpLimits

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
