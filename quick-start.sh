#!/usr/bin/env bash
# Deep Tree Echo on one machine: a virtual environment, the farm in the background, and its tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

VENV=${ECHO_VENV:-.venv}

usage() {
  cat <<'USAGE'
usage: ./quick-start.sh COMMAND

  start            install what is missing, start the farm, wait until it is ready
  stop             stop the farm; no process is left
  restart          stop, then start
  update           after the code has changed: replace the processes one by one, while clients go on
  status           what runs, whether it is ready, and what was restarted
  logs [process]   the log of all, or of: broker store api worker controller exporter flower
  monitor          show it all, live, in this terminal; with a local Prometheus where one is installed
  scale N          have N workers, and wait until they serve; from MIN_INSTANCES to MAX_INSTANCES
  test [FOLDER]    run the tests, or those of a folder or file; other options go to pytest: CONTRIBUTING.md
  test --all       run those that take long, too
  help             this text

With --docker, start, stop, restart, status, logs, monitor, scale and test are of the farm in containers: docker/README.md.

Settings are environment variables, or lines NAME=value of a file .env, which win; README.md lists them.
USAGE
}

# Python 3.11 or newer, by the names that it goes by.
find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "quick-start: Python 3.11 or newer is needed; set PYTHON to one" >&2
  exit 1
}

# install [extra]: once, and again whenever pyproject.toml has changed.
install() {
  local extra=${1:-} stamp="$VENV/.installed${1:+-$1}"
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then # none yet, or one that was cut short
    local python
    python=$(find_python)
    echo "Making $VENV"
    "$python" -m venv "$VENV"
  fi
  if ! cmp -s pyproject.toml "$stamp"; then
    echo "Installing into $VENV (torch is large; the first time takes a while)"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -e ".${extra:+[$extra]}"
    cp pyproject.toml "$stamp"
    cp pyproject.toml "$VENV/.installed" # an extra comes on top of the rest
  fi
}

# The environment's programs first, as in an activated one.
in_venv() {
  exec env PATH="$(cd "$VENV/bin" && pwd):$PATH" "$VENV/bin/python" -m "$@"
}

words=()
for word in "$@"; do
  if [[ $word == --docker ]]; then in_containers=true; else words+=("$word"); fi
done
if [[ ${in_containers:-} ]]; then
  exec docker/farm.sh ${words[@]+"${words[@]}"}
fi

command=${1:-help}
[[ $# -gt 0 ]] && shift
case $command in
  start | restart | update) install; in_venv echo_tasks.local.control "$command" "$@" ;;
  stop | status | logs | scale)
    if [[ ! -x $VENV/bin/python ]]; then
      echo "The farm does not run: it was never installed."
      [[ $command == stop ]]
      exit
    fi
    in_venv echo_tasks.local.control "$command" "$@" ;;
  monitor) install; in_venv monitoring.terminal "$@" ;;
  # Without byte code each of the run's processes would compile all tests again.
  test) install test; unset PYTHONDONTWRITEBYTECODE; in_venv pytest "$@" ;;
  help | -h | --help) usage ;;
  *) echo "quick-start: unknown command '$command'" >&2; usage >&2; exit 2 ;;
esac
