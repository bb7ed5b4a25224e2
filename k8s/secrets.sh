#!/bin/sh
# Prints the Secrets that the manifests name, with passwords made on the spot:
#   k8s/secrets.sh | kubectl create -f -
# Not `apply`: passwords that are there stay. Nothing is written to disk, nothing is in a process list.
set -eu

password() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

secret() { # NAME; its keys and values follow on standard input
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: deep-tree-echo\n' "$1"
  printf '  labels: {app.kubernetes.io/name: deep-tree-echo}\nstringData:\n'
  sed 's/^/  /'
}

for server in broker store; do
  echo "password: \"$(password)\"" | secret "$server"
done
echo "admin-key: \"$(password)\"" | secret api
echo "users: \"operator:$(password)\"" | secret flower
