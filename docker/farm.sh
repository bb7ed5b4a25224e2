#!/usr/bin/env bash
# The farm in containers: what `./quick-start.sh COMMAND --docker` runs. Docker's Compose reads docker-compose.yml with its
# override, and lines NAME=value of a file .env.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

READY_WITHIN_S=600 # the first time, images are built

fail() {
  echo "quick-start: $1" >&2
  exit 1
}

needs_docker() {
  local reason
  type -P docker >/dev/null ||
    fail "--docker needs Docker, which is not installed here; without --docker nothing is needed but Python"
  docker compose version >/dev/null 2>&1 || fail "--docker needs Docker's Compose plugin: 'docker compose version' fails"
  reason=$(docker info 2>&1 >/dev/null) || fail "no Docker Engine answers: ${reason%%$'\n'*}"
}

# Where the edge listens on this machine; empty while it does not.
edge() {
  local place
  place=$(docker compose port nginx "$1" 2>/dev/null) || return 0
  echo "localhost:${place##*:}"
}

# ask PATH [options of curl's]: the answer's body, and its status in a line of its own. Our own machine, so whoever's the
# certificate is.
ask() {
  curl --silent --insecure --max-time 150 --write-out '\n%{http_code}' "https://$(edge 8443)$1" "${@:2}" || true
}

start() {
  sh docker/secrets.sh
  docker compose up --detach --build --wait --wait-timeout "$READY_WITHIN_S"
  pages
}

pages() {
  local place
  place=$(edge 8443)
  cat <<PAGES

  API       https://$place/api/jobs       a key of scope admin: secrets/api_admin_key
  OpenAPI   https://$place/openapi/swagger
  Flower    https://$place/flower/        secrets/flower_users
  Grafana   https://$place/grafana/       operator, secrets/grafana_password
PAGES
}

status() {
  docker compose ps
  local answer
  answer=$(ask /readyz)
  echo "readyz     ${answer##*$'\n'}"
  [[ ${answer##*$'\n'} == 200 ]]
}

logs() {
  local follow=()
  if [[ -t 1 ]]; then follow=(--follow); fi
  docker compose logs --tail 200 ${follow[@]+"${follow[@]}"} "$@"
}

monitor() {
  pages
  docker compose stats
}

scale() {
  [[ ${1:-} =~ ^[0-9]+$ ]] || fail "scale: how many workers? a whole number is expected"
  docker compose up --detach --no-recreate --no-deps --wait --wait-timeout "$READY_WITHIN_S" --scale "worker=$1" worker
}

# expect STATUS WHAT PATH [options]: say whether the edge answers so.
expect() {
  local answer
  answer=$(ask "${@:3}")
  if [[ ${answer##*$'\n'} == "$1" ]]; then
    echo "ok      $2"
  else
    echo "FAILED  $2: ${answer##*$'\n'} instead of $1"
    failed=1
  fi
}

# The whole way through the containers, from this machine. The key is on no command line.
check() {
  local failed=0 job='{"input_text":"What is two plus three?"}' json='Content-Type: application/json'
  expect 200 'ready' /readyz
  expect 401 'nobody without a key' /api/jobs --header "$json" --data "$job"
  expect 404 'metrics are not for outside' /metrics
  expect 200 'a job is answered' /api/cognitive/process --header "$json" --data "$job" --config - <<KEY
header = "Authorization: Bearer $(cat secrets/api_admin_key)"
KEY
  return "$failed"
}

usage() {
  echo "usage: ./quick-start.sh start|stop|restart|status|logs [service]|monitor|scale N|test --docker" >&2
  exit 2
}

command=${1:-}
[[ $# -gt 0 ]] && shift
case $command in
  start | status | monitor | scale | logs) needs_docker; "$command" "$@" ;;
  stop) needs_docker; docker compose down ;;
  restart) needs_docker; docker compose down; start ;;
  test) needs_docker; check ;;
  *) usage ;;
esac
