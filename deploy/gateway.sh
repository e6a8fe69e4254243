#!/bin/sh
# Lets a gateway in: adds it to the broker's password file, or gives it a new password.
#
#   sh deploy/gateway.sh NAME [PASSWORD]     prints the password; a new one if none is given
#
# Then let the broker read the file again: docker compose -f deploy/compose.yaml kill -s HUP mosquitto
set -eu
here=$(cd "$(dirname "$0")" && pwd)
name=${1:?usage: gateway.sh NAME [PASSWORD]}
password=${2:-$(openssl rand -hex 16)}
broker=${TANYUAN_SECRETS:-$here/secrets}/broker
image=eclipse-mosquitto:2.0.22

case $name in
    *[!A-Za-z0-9_.-]*) echo "Wanted a name of letters, digits, '.', '_' and '-', found '$name'." >&2
                       exit 1 ;;
esac
[ -e "$broker/passwords" ] || { echo "No $broker/passwords; run prepare.sh first." >&2; exit 1; }

if command -v mosquitto_passwd >/dev/null; then
    mosquitto_passwd -b "$broker/passwords" "$name" "$password" 2>/dev/null
else
    docker run --rm -v "$broker:/broker" "$image" \
        mosquitto_passwd -b /broker/passwords "$name" "$password"
fi
if [ "$(id -u)" = 0 ]; then
    chown 1883:1883 "$broker/passwords"
    chmod 600 "$broker/passwords"
else
    chmod 644 "$broker/passwords"
fi
echo "$password"
