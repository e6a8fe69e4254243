#!/bin/sh
# Makes what the compose file needs and no repository may hold: secrets, certificates, the broker's
# password file, the home, a folder for backups. May be run again: what is there stays, except
# mosquitto.conf, which is copied anew.
#
#   sh deploy/prepare.sh SITE [HOST]     SITE: id in site.yaml; HOST: name that gateways connect to
#
# Afterwards `sh deploy/gateway.sh NAME` for every gateway.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
site=${1:?usage: prepare.sh SITE [HOST]}
host=${2:-localhost}
into=${TANYUAN_SECRETS:-$here/secrets}
home=${TANYUAN_HOME_DIR:-$here/home}
backups=${TANYUAN_BACKUPS_DIR:-$here/backups}
broker=$into/broker

case $site in
    *[!A-Za-z0-9_.-]*) echo "Wanted a site id of letters, digits, '.', '_' and '-', found '$site'." >&2
                       exit 1 ;;
esac
command -v openssl >/dev/null || { echo "Wanted openssl on the PATH, found none." >&2; exit 1; }

# The folder is for its owner alone; the files in it are read by containers of several users.
mkdir -p "$into" "$broker" "$home" "$backups"
chmod 700 "$into" "$backups"
chmod 755 "$broker"

secret() {
    [ -s "$into/$1" ] || openssl rand -hex 24 > "$into/$1"
    chmod 444 "$into/$1"
}
for name in http_token collector_password postgres_password influxdb_password influxdb_token \
            grafana_password; do
    secret "$name"
done
[ -s "$into/ledger_url" ] || printf 'postgresql+psycopg://tanyuan:%s@postgres:5432/tanyuan\n' \
    "$(cat "$into/postgres_password")" > "$into/ledger_url"
chmod 444 "$into/ledger_url"

# -- certificates: a CA of our own; put the park's own files in their place if it has a PKI --------
quietly() {
    said=$("$@" 2>&1) || { echo "$*: $said" >&2; exit 1; }
}
if [ ! -s "$broker/server.crt" ]; then
    if [ ! -s "$broker/ca.crt" ]; then
        quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
            -days 3650 -subj "/CN=Tanyuan broker CA" -keyout "$into/ca.key" -out "$broker/ca.crt"
    elif [ ! -s "$into/ca.key" ]; then
        echo "Wanted $into/ca.key, which signed $broker/ca.crt, found none. Put it back; without it," \
             "remove ca.crt too, and give every gateway the new one." >&2
        exit 1
    fi
    quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$host" \
        -keyout "$broker/server.key" -out "$into/server.csr"
    printf 'subjectAltName=DNS:%s,DNS:mosquitto,DNS:localhost,IP:127.0.0.1\n' "$host" \
        > "$into/names"
    quietly openssl x509 -req -days 825 -in "$into/server.csr" -CA "$broker/ca.crt" \
        -CAkey "$into/ca.key" -CAcreateserial -CAserial "$into/ca.srl" -extfile "$into/names" \
        -out "$broker/server.crt"
    rm -f "$into/server.csr" "$into/names"
fi

# -- the broker -----------------------------------------------------------------------------------
cp "$here/mosquitto/mosquitto.conf" "$broker/mosquitto.conf"
[ -s "$broker/acl" ] || sed "s|tanyuan/park/|tanyuan/$site/|" "$here/mosquitto/acl" > "$broker/acl"
[ -e "$broker/passwords" ] || : > "$broker/passwords"
grep -q '^collector:' "$broker/passwords" || \
    sh "$here/gateway.sh" collector "$(cat "$into/collector_password")" >/dev/null 2>"$into/said" ||
    { cat "$into/said" >&2; rm -f "$into/said"; exit 1; }
rm -f "$into/said"

# -- who the containers run as --------------------------------------------------------------------
if [ "$(id -u)" = 0 ]; then
    chown 1883:1883 "$broker/server.key" "$broker/passwords" "$broker/acl"
    chmod 600 "$broker/server.key" "$broker/passwords" "$broker/acl"
    chown -R 10001:10001 "$home"
    chown 10001:10001 "$backups"
    user=10001
else
    chmod 644 "$broker/server.key" "$broker/passwords" "$broker/acl"
    user=$(id -u)
fi
chmod 644 "$broker/ca.crt" "$broker/server.crt" "$broker/mosquitto.conf"
grep -qs '^TANYUAN_UID=' "$here/.env" || [ -n "${TANYUAN_SECRETS:-}" ] || \
    printf 'TANYUAN_UID=%s\n' "$user" >> "$here/.env"

echo "ready: $into and $home"
echo "token of the API and the page: $into/http_token"
cat <<END
next, in containers: site.yaml into $home, then docker compose -f $here/compose.yaml up -d --wait
next, with the broker of a Debian host, as root:
  install -d -o mosquitto -g mosquitto -m 755 /etc/mosquitto/tanyuan
  install -o mosquitto -g mosquitto -m 600 $broker/* /etc/mosquitto/tanyuan/
  systemctl restart mosquitto
then sh $here/gateway.sh NAME for every gateway
END
