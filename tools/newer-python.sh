#!/bin/sh
# newer-python.sh: prints a Python of 3.12 or newer, on the PATH or kept by pyenv, or says on stderr that there is none.
for python in python3.14 python3.13 python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[234]*/bin/python3 python3; do
    "$python" -c 'import sys, venv; sys.version_info < (3, 12) and sys.exit(1); print(sys.executable)' 2>/dev/null && exit 0
done
echo "left out: ElastAlert2 and what checks files, as there is no Python of 3.12 or newer" >&2
exit 1
