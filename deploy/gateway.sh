#!/bin/sh
# Lets a gateway in: adds it to the broker's password file, or gives it a new password.
#
#   sh deploy/gateway.sh NAME [PASSWORD]     prints the password; a new one if none is given
#
# The broker has to be given the file and to read it again; how is printed on stderr.
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
    said=$(mosquitto_passwd -b "$broker/passwords" "$name" "$password" 2>&1) ||
        { echo "$said" >&2; exit 1; }
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
cat >&2 <<END
now let the broker read it; in containers:
  docker compose -f $here/compose.yaml kill -s HUP mosquitto
on a Debian host, as root:
  install -o mosquitto -g mosquitto -m 600 $broker/passwords /etc/mosquitto/tanyuan/passwords
  systemctl kill -s HUP mosquitto
END
