#!/bin/sh
# Makes the secrets that docker-compose.yml names, those that are not there: docker/secrets.sh [FOLDER]
# The folder is closed to all but its owner. What is in it may be read by whoever gets there: containers do, by a mount of
# the one file, and each is another user.
set -eu

folder=${1:-secrets}

fail() {
  echo "secrets: $1" >&2
  exit 1
}

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# keep NAME: standard input as a secret, whole or not at all.
keep() {
  cat >"$folder/.$1.new"
  [ -s "$folder/.$1.new" ] || fail "$folder/$1 came out empty"
  chmod 0644 "$folder/.$1.new"
  mv "$folder/.$1.new" "$folder/$1"
  echo "made $folder/$1"
}

# The first name that .env, which Compose reads, has for EDGE_SERVER_NAME. Nothing in it is run.
server_name() {
  [ -f .env ] || return 0
  line="^[[:space:]]*(export[[:space:]]+)?EDGE_SERVER_NAME=[\"']?([^\"'#[:space:]]*).*"
  sed -nE "s/$line/\2/p" .env | tail -n 1
}

# A certificate of one's own, for EDGE_SERVER_NAME, that no browser knows: for a first look, and for tests.
self_made() {
  command -v openssl >/dev/null || fail "there is no openssl to make a certificate: put yours at $folder/tls_cert and its key at $folder/tls_key"
  name=${EDGE_SERVER_NAME-$(server_name)} # the environment goes before the file
  name=${name%% *}
  case $name in '' | _) name=localhost ;; esac
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj "/CN=$name" \
    -addext "subjectAltName=DNS:$name,DNS:localhost,IP:127.0.0.1" \
    -keyout "$folder/.tls_key.made" -out "$folder/.tls_cert.made" 2>/dev/null || fail "openssl makes no certificate"
  keep tls_key <"$folder/.tls_key.made"
  keep tls_cert <"$folder/.tls_cert.made"
  rm "$folder/.tls_key.made" "$folder/.tls_cert.made"
}

umask 077
mkdir -p "$folder"
chmod 0700 "$folder"
for name in broker_password store_password api_admin_key grafana_password; do
  [ -e "$folder/$name" ] || random | keep "$name"
done
[ -e "$folder/flower_users" ] || echo "operator:$(random)" | keep flower_users
case $([ -e "$folder/tls_cert" ] && echo cert)$([ -e "$folder/tls_key" ] && echo key) in
  '') self_made ;;
  cert) fail "$folder/tls_cert is there, and $folder/tls_key is not" ;;
  key) fail "$folder/tls_key is there, and $folder/tls_cert is not" ;;
esac
