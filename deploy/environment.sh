#!/bin/sh
# Makes the Python environment in the folder named by $1, from pyproject.toml and constraints.txt.
# Needs no root. Uses uv where it is present, else venv and pip.
set -eu
venv=$1

fits='import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
python=
for name in python3.13 python3.12 python3.11 python3 python; do
    if command -v "$name" >/dev/null 2>&1 && "$name" -c "$fits" >/dev/null 2>&1; then
        python=$(command -v "$name")
        break
    fi
done
if [ -z "$python" ]; then
    echo "Wanted Python 3.11, 3.12 or 3.13 on the PATH; found none. Install one and run again." >&2
    exit 1
fi

rm -rf "$venv"
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --no-python-downloads --python "$python" "$venv"
    VIRTUAL_ENV="$venv" uv pip install --quiet --python "$venv/bin/python" -c constraints.txt -e '.[dev]'
elif "$python" -m venv "$venv" >/dev/null 2>&1; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
elif "$python" -m pip --version >/dev/null 2>&1; then
    # Debian splits ensurepip off into python3-venv: use the pip outside for the environment inside.
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv"
    "$python" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check \
        -c constraints.txt -e '.[dev]'
else
    echo "Wanted uv, or pip with $python; found neither." >&2
    echo "Install uv, or on Debian the package python3-venv, and run again." >&2
    exit 1
fi
