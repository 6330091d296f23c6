#!/bin/sh
# Makes the certificate that Complement's authority signs, completes the configuration, and starts the server with a Postgres of its own.
set -eu
: "${SERVER_NAME:?Complement names the server}"
data=${COMPLEMENT_DATA:-/data}
here=$(dirname "$0")
ca=${COMPLEMENT_CA:-/complement/ca}

mkdir -p "$data"
openssl req -new -newkey rsa:2048 -nodes -subj "/CN=$SERVER_NAME" -keyout "$data/server.tls.key" -out "$data/server.tls.csr"
printf 'subjectAltName=DNS:%s\n' "$SERVER_NAME" > "$data/server.tls.ext"
openssl x509 -req -in "$data/server.tls.csr" -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -set_serial 1 -days 30 \
  -extfile "$data/server.tls.ext" -out "$data/server.tls.crt"

sed -e "s|@SERVER_NAME@|$SERVER_NAME|g" -e "s|@DATA@|$data|g" -e "s|@CA@|$ca|g" "$here/homeserver.yaml" > "$data/homeserver.yaml"
if [ -d /complement/appservice ]; then
  echo "app_service_config_files:" >> "$data/homeserver.yaml"
  for file in /complement/appservice/*.yaml; do
    echo "  - $file" >> "$data/homeserver.yaml"
  done
fi
if [ "$(id -u)" = 0 ]; then chown -R 991:991 "$data"; fi
exec node "${MYELIN_HOME:-/app}/dist/src/bin/docker-start.js" run --config-path "$data/homeserver.yaml"
