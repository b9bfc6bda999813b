"""Looking into the running process: a flame graph, all stacks, and what blocks the loop."""

from .profile import Profile, profile
from .stacks import log_stacks, stacks_on_signal
from .watch import watching

__all__ = ["Profile", "log_stacks", "profile", "stacks_on_signal", "watching"]
