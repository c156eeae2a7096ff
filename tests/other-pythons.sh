#!/usr/bin/env bash
# Run the fast tests with each supported Python that is found and is not that of .venv, and say which ones those are.
# Looked for on PATH and among pyenv's versions. Each gets an environment of its own beside .venv; "fast" leaves out what
# needs a broker, a wheel or the recordings of the reference engine, and what is marked as slow.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

supported="3.11 3.12 3.13 3.14"
default=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
unset COVERAGE_PROCESS_START COVERAGE_PROCESS_CONFIG

candidates() {
  command -v "python$1" || true
  find "${PYENV_ROOT:-$HOME/.pyenv}/versions" -path "*/versions/$1.*/bin/python" 2>/dev/null | sort -rV || true
}

# A shim of pyenv is on PATH for versions that are not chosen, too, so each is asked who it is.
find_python() {
  local python
  candidates "$1" | while read -r python; do
    if [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
      echo "$python"
      break
    fi
  done
}

# Exit code 3: this Python cannot make environments.
prepare() {
  local python=$1 place=$2
  [ "$place/.test" -nt pyproject.toml ] && [ -x "$place/bin/python" ] && return
  rm -rf "$place"
  "$python" -m venv "$place" >"$place.log" 2>&1 || return 3
  {
    "$place/bin/python" -m pip --disable-pip-version-check --quiet install --upgrade "pip>=25.1"
    "$place/bin/python" -m pip --disable-pip-version-check --quiet install --editable ".[all]" --group test
  } >"$place.log" 2>&1 || return
  touch "$place/.test"
}

run_fast_tests() {
  "$1/bin/python" -m pytest -q -p no:cacheprovider -m "not broker and not wheel and not slow" \
    --ignore tests/conformance >"$1.log" 2>&1
}

missing=""
for version in $supported; do
  [ "$version" = "$default" ] && continue
  python=$(find_python "$version")
  if [ -z "$python" ]; then
    missing="$missing $version"
    continue
  fi
  place=.venv-$version
  status=0
  prepare "$python" "$place" || status=$?
  if [ "$status" = 3 ]; then
    echo "NOT TESTED WITH PYTHON $version: $python cannot make a virtual environment (is python$version-venv installed?)"
    rm -rf "$place" "$place.log"
    continue
  fi
  [ "$status" = 0 ] && { run_fast_tests "$place" || status=$?; }
  if [ "$status" != 0 ]; then
    cat "$place.log" >&2
    echo "the fast tests fail with $("$python" --version), $python" >&2
    exit 1
  fi
  echo "the fast tests with $("$python" --version): $(tail -1 "$place.log")"
  rm -f "$place.log"
done
[ -z "$missing" ] || echo "not found, and so not tested: Python$missing"
