"""What an operation needs of its caller."""

from typing import NamedTuple


class Needs(NamedTuple):
    """All of `scopes`; a `public` operation does not even ask who calls."""

    scopes: frozenset[str] = frozenset()
    public: bool = False


PUBLIC = Needs(public=True)  # for everybody: nobody is asked who they are


def needs(*scopes: str) -> Needs:
    """Return the need of every one of `scopes`; without any, of a caller who is known.

    For `Service.allow`: who lacks one gets PermissionDeniedError, who is not known
    UnauthenticatedError.
    """
    return Needs(frozenset(scopes))
