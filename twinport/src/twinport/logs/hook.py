"""The sink that calls what the settings name, with one line after the other, in a thread."""

import pkgutil
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import SecretStr, ValidationError

from ..errors import StartupError
from .background import Background
from .kinds import HookSink
from .sink import Sink

Hook = Callable[[Mapping[str, Any]], object]


class HookedSink(Sink):
    """Gives each line to a hook, as the dictionary that its JSON is."""

    def __init__(self, name: str, settings: HookSink, alarm: threading.Event) -> None:
        super().__init__(name, settings, alarm)
        self._hook = _made(name, settings)
        self._background = Background(name, self._call, settings.queue_size, self.losses)

    def put(self, data: bytes) -> None:
        self._background.put(data)

    def flush(self, seconds: float) -> bool:
        return self._background.flush(seconds)

    def close(self) -> None:
        if self._background.waiting:
            self.losses.add(self._background.waiting, "the hook was too slow at the end")
        self._background.close()

    def _call(self, batch: Sequence[bytes]) -> None:
        for line in batch:
            try:
                self._hook(orjson.loads(line))
            except Exception as error:  # one line that it cannot take says nothing of the next
                self.losses.add(1, f"{type(error).__name__}: {error}")


def _made(name: str, settings: HookSink) -> Hook:
    options = {
        key: value.get_secret_value() if isinstance(value, SecretStr) else value
        for key, value in settings.options.items()
    }
    try:
        hook: Hook = pkgutil.resolve_name(settings.callable)(**options)
    except ValidationError as error:  # its own text would show what may be a secret
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StartupError(f"logs.sinks.{name}.options.{where}: {first['msg']}") from error
    except (TypeError, ValueError) as error:
        raise StartupError(f"logs.sinks.{name}.options: {error}") from error
    if not callable(hook):
        raise StartupError(f"logs.sinks.{name}.callable: what it returns cannot be called")
    return hook
