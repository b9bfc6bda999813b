"""OpenTelemetry's instrumentations write HTTP's stable conventions only if they are told to."""

import os

VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
STABLE = "http"


def choose_stable_names() -> None:
    """Tell them; they read it once, when the first one begins to work."""
    chosen = [each.strip() for each in os.environ.get(VARIABLE, "").split(",")]
    others = [each for each in chosen if each and not each.startswith(STABLE)]
    os.environ[VARIABLE] = ",".join([STABLE, *others])
