"""Looking into the running process: a flame graph, all stacks, and what blocks the loop."""

from .profile import Profile, profile
from .stacks import log_stacks_apart
from .watch import blocking_stack, watching

__all__ = ["Profile", "blocking_stack", "log_stacks_apart", "profile", "watching"]
