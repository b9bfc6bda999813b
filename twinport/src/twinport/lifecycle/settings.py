"""How long the service may take to stop."""

from datetime import timedelta
from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from ..settings import Duration, Section

LAST_RESORT_S = 2.0  # after drain, grace and flush the process ends itself


class LifecycleSettings(Section):
    """The waits of a stop, one after the other."""

    drain: Duration = timedelta(seconds=5)
    """Not ready any more but still serving, so that load balancers look away."""

    grace: Duration = timedelta(seconds=15)
    """Calls under way may finish; no new ones are taken."""

    flush: Duration = timedelta(seconds=3)
    """Spans and logs are sent."""

    platform_grace: Duration = timedelta(seconds=30)
    """When the platform kills the process (Kubernetes' terminationGracePeriodSeconds)."""

    @property
    def last_resort_s(self) -> float:
        """Seconds from the signal until the process ends itself."""
        return (self.drain + self.grace + self.flush).total_seconds() + LAST_RESORT_S

    @property
    def in_a_hurry_s(self) -> float:
        """The same after a second signal, which skips the waits."""
        return self.flush.total_seconds() + LAST_RESORT_S

    @model_validator(mode="after")
    def _within_platform_grace(self) -> Self:
        if self.last_resort_s > self.platform_grace.total_seconds():
            raise PydanticCustomError(
                "too_long", "drain + grace + flush + 2s must not be longer than platform_grace"
            )
        return self
