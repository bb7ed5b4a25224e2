#!/bin/sh
# render.sh FOLDER: the edge's configuration for the environment's EDGE_… variables (README.md lists them), for
# `nginx -p FOLDER -c nginx.conf`. It asks the nginx that is installed for its version.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=$1

fail() {
  echo "edge: $1" >&2
  exit 78
}

number='[0-9]{1,9}'
ip='[0-9.]+|\[[0-9A-Fa-f:]+\]'
server="[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9A-Fa-f:]+\]:[0-9]{1,5}"
network='[0-9A-Fa-f:.]+(/[0-9]{1,3})?'
private='127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1 fc00::/7'

# Each setting: its name, its default, and what it may be.
settings() {
  cat <<LIST
EDGE_API|api:8000|($server)( ($server))*
EDGE_RESOLVER||($ip)?
EDGE_SERVER_NAME|_|[A-Za-z0-9._*-]+( [A-Za-z0-9._*-]+)*
EDGE_CERT|/run/secrets/tls_cert|/[^;{}' ]+
EDGE_KEY|/run/secrets/tls_key|/[^;{}' ]+
EDGE_ADDRESS|0.0.0.0 [::]|($ip)( ($ip))*
EDGE_HTTP_PORT|8080|$number
EDGE_HTTPS_PORT|8443|$number
EDGE_PUBLIC_PORT|443|$number
EDGE_HSTS_S|31536000|$number
EDGE_TRUSTED_PROXIES||($network( $network)*)?
EDGE_PRIVATE|$private|$network( $network)*
EDGE_FLOWER||($server)?
EDGE_GRAFANA||($server)?
EDGE_REQUESTS_PER_S|50|$number
EDGE_REQUESTS_BURST|200|$number
EDGE_SUBMITS_PER_S|20|$number
EDGE_SUBMITS_BURST|100|$number
EDGE_CONNECTIONS|256|[0-9]{1,5}
EDGE_WORKERS|auto|auto|[0-9]{1,3}
EDGE_CLIENT_TIMEOUT_S|10|$number
EDGE_BODY_BYTES|1048576|$number
SERVICE_TIMEOUT|120|$number
LIST
}

newline='
'
read_settings() {
  while IFS='|' read -r name default pattern; do
    eval "value=\${$name-\$default}"
    case $value in *"$newline"*) fail "$name has more than one line" ;; esac
    printf '%s\n' "$value" | grep -Eqx -- "$pattern" || fail "$name='$value' is not allowed"
    eval "$name=\$value"
  done <<LIST
$(settings)
LIST
}

# is_at_least MAJOR MINOR PATCH: whether the nginx that is installed is.
is_at_least() {
  wanted=$(($1 * 1000000 + $2 * 1000 + $3))
  version=$(nginx -v 2>&1 | sed -n 's|.*nginx/\([0-9]*\)\.\([0-9]*\)\.\([0-9]*\).*|\1 * 1000000 + \2 * 1000 + \3|p')
  [ "$((${version:-0}))" -ge "$wanted" ]
}

has_ipv6() {
  [ -s /proc/net/if_inet6 ]
}

# listening PORT OPTIONS: a line for each address.
listening() {
  for address in $EDGE_ADDRESS; do
    case $address in '['*) has_ipv6 || continue ;; esac
    echo "listen $address:$1 $2;"
  done
}

render_processes() {
  files=$(ulimit -Hn)
  if [ "$files" = unlimited ] || [ "$files" -gt 65536 ]; then files=65536; fi
  echo "worker_rlimit_nofile $files;"
  echo "worker_processes $EDGE_WORKERS;"
}

render_plain() {
  listening "$EDGE_HTTP_PORT" 'default_server reuseport backlog=4096'
  echo "server_name $EDGE_SERVER_NAME;"
  echo "set \$edge_public_port '$public_port';"
}

render_tls() {
  if is_at_least 1 25 1; then
    listening "$EDGE_HTTPS_PORT" 'ssl default_server reuseport backlog=4096'
    echo 'http2 on;'
  else
    listening "$EDGE_HTTPS_PORT" 'ssl http2 default_server reuseport backlog=4096'
  fi
  echo "server_name $EDGE_SERVER_NAME;"
  echo "set \$edge_public_port '$public_port';"
  echo "ssl_certificate $EDGE_CERT;"
  echo "ssl_certificate_key $EDGE_KEY;"
}

render_redirect() {
  echo "return 308 https://\$host$public_port\$request_uri;"
}

render_trusted() {
  [ -n "$EDGE_TRUSTED_PROXIES" ] || return 0
  echo 'real_ip_header X-Forwarded-For;'
  echo 'real_ip_recursive on;' # the last address that is no proxy of ours
  for proxy in $EDGE_TRUSTED_PROXIES; do echo "set_real_ip_from $proxy;"; done
}

render_rates() {
  echo "limit_req_zone \$edge_counted zone=requests:16m rate=${EDGE_REQUESTS_PER_S}r/s;"
  echo "limit_req_zone \$edge_submitter zone=submits:16m rate=${EDGE_SUBMITS_PER_S}r/s;"
  echo "map '' \$edge_hsts_value { default 'max-age=$EDGE_HSTS_S'; }"
}

render_limits() {
  echo "limit_req zone=requests burst=$EDGE_REQUESTS_BURST nodelay;"
  echo "limit_req zone=submits burst=$EDGE_SUBMITS_BURST nodelay;"
  echo "limit_conn connections $EDGE_CONNECTIONS;"
}

render_clients() {
  echo "client_header_timeout ${EDGE_CLIENT_TIMEOUT_S}s;"
  echo "client_body_timeout ${EDGE_CLIENT_TIMEOUT_S}s;"
  echo "client_max_body_size $EDGE_BODY_BYTES;"
}

# Names are looked up again where nginx can (1.27.3) and knows whom to ask; else once, when it starts.
render_upstreams() {
  [ -z "$EDGE_RESOLVER" ] || echo "resolver $EDGE_RESOLVER valid=5s;"
  resolve=
  if [ -n "$EDGE_RESOLVER" ] && is_at_least 1 27 3; then resolve=' resolve'; fi
  echo 'upstream api {'
  echo '  zone api 256k;'
  echo '  least_conn;' # streams stay long: who has fewest gets the next
  for server in $EDGE_API; do
    case $server in *[A-Za-z]*:*) looked_up=$resolve ;; *) looked_up= ;; esac
    echo "  server $server max_fails=3 fail_timeout=10s$looked_up;"
  done
  echo '  keepalive 64;'
  echo '  keepalive_timeout 20s;' # less than the API's own, so that it is never the API that closes
  echo '}'
}

render_patience() {
  echo "proxy_read_timeout $((SERVICE_TIMEOUT + 15))s;"
}

# page PATH SERVER: a page of the operators'. By a variable, so that nginx starts without it.
page() {
  [ -n "$2" ] || return 0
  echo "location /$1/ {"
  for allowed in $EDGE_PRIVATE; do echo "  allow $allowed;"; done
  echo '  deny all;'
  echo '  proxy_cache off;'
  echo '  limit_req zone=requests burst=2000 nodelay;' # a page of theirs asks for hundreds of things
  echo "  set \$edge_page http://$2;"
  echo '  proxy_pass $edge_page;'
  echo '}'
}

render_pages() {
  page flower "$EDGE_FLOWER"
  page grafana "$EDGE_GRAFANA"
}

read_settings
public_port=
[ "$EDGE_PUBLIC_PORT" = 443 ] || public_port=:$EDGE_PUBLIC_PORT

mkdir -p "$folder/rendered" "$folder/run"
cp -R "$here/nginx.conf" "$here/parts" "$folder/"
for part in processes plain tls redirect trusted rates limits clients upstreams patience pages; do
  "render_$part" >"$folder/rendered/$part.conf"
done
