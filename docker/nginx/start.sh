#!/bin/sh
# start.sh [FOLDER]: render the edge's configuration and serve, in the foreground.
set -eu

folder=${1:-/tmp/edge}
sh "$(dirname "$0")/render.sh" "$folder"
exec nginx -p "$folder" -c nginx.conf -e stderr -g 'daemon off;'
