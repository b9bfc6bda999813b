"""Say which two commands come next."""

import os
import shlex
from pathlib import Path

project = Path.cwd()
typed_in = Path(os.environ.get("PWD", project.parent)).resolve()  # the hook runs in the project
shown = project.relative_to(typed_in) if project.is_relative_to(typed_in) else project
print(f"\n    cd {shlex.quote(str(shown))}\n    make run\n")
