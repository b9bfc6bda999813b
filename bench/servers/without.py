"""A baked service without one of its parts, to see what that costs: without.py PART run ...

It starts as the service does, so all else is the same.
"""

import runpy
import sys
from typing import Any

from twinport.calls import Alarm, Gate
from twinport.logs.logs import Logs
from twinport.metrics.metrics import Metrics
from twinport.rpc.server_call import ServerCall
from twinport.traces import Tracing
from twinport.traces.propagation import Propagator

PARTS: dict[str, dict[Any, tuple[str, ...]]] = {  # what does nothing then
    "access-line": {Logs: ("access",)},
    "metrics": {Metrics: ("observe",)},
    "kept-spans": {Tracing: ("observe",)},
    "trace-context": {Propagator: ("join",)},
    "deadline": {Alarm: ("set", "unset")},
    "limits": {Gate: ("admit", "leave")},
    "trailing-ids": {ServerCall: ("_ids",)},
}


def main() -> None:
    """Start the service as `python -m order_book` would."""
    for place, names in PARTS[sys.argv.pop(1)].items():
        for name in names:
            setattr(place, name, lambda *_: ())
    runpy.run_module("order_book", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
