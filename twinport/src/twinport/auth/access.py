"""Which operation needs what: one table for routes and methods."""

from collections.abc import Hashable, Iterable, Mapping

from ..errors import StartupError
from .needs import Needs


class Access:
    """Knows an operation by its name: `GetOrder` is also the route function `get_order`."""

    def __init__(self) -> None:
        self._needs: dict[str, Needs] = {}
        self._names: dict[str, str] = {}

    def allow(self, table: Mapping[str, Needs]) -> None:
        """Add operations; raises StartupError for one that is there already."""
        for name, needs in table.items():
            if _key(name) in self._needs:
                raise StartupError(f"app.py says twice what {name} needs")
            self._needs[_key(name)], self._names[_key(name)] = needs, name

    def of(self, name: str) -> Needs | None:
        """Return what an operation needs; None if nobody has said: it is closed."""
        return self._needs.get(_key(name))

    def check(self, *transports: Iterable[tuple[str, Hashable]]) -> None:
        """Refuse a name that no operation has, or two have; raises StartupError.

        Each transport gives its operations as (name, what it runs): with two of one name, saying
        what one of them needs would open the other one, too.
        """
        found = [_targets(operations) for operations in transports]
        for key, name in self._names.items():
            most = max(len(targets.get(key, ())) for targets in found)
            if most != 1:
                problem = "two operations have that name" if most else "there is no such operation"
                raise StartupError(f"app.py says what {name} needs, but {problem}")

    def unsaid(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that are closed, because nobody has said what they need."""
        return sorted({name for name in names if self.of(name) is None})


def _targets(operations: Iterable[tuple[str, Hashable]]) -> dict[str, set[Hashable]]:
    targets: dict[str, set[Hashable]] = {}
    for name, target in operations:
        targets.setdefault(_key(name), set()).add(target)
    return targets


def _key(name: str) -> str:
    return name.replace("_", "").lower()
