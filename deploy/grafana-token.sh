#!/bin/sh
# Makes the token with which Grafana of the compose file reads InfluxDB: both buckets, and no more.
# Run it once Tanyuan has started (it makes the buckets), before Grafana; and again whenever a bucket
# was made anew, for a token belongs to the bucket it was made for.
#
#   sh deploy/grafana-token.sh
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
secrets=${TANYUAN_SECRETS:-$here/secrets}
file=$secrets/grafana_influxdb_token
[ -d "$secrets" ] || { echo "No folder $secrets; run prepare.sh first." >&2; exit 1; }

influx() {
    docker compose -f "$here/compose.yaml" exec -T influxdb sh -c \
        'INFLUX_TOKEN=$(cat /run/secrets/influxdb_token) exec influx "$@"' influx "$@" </dev/null
}

bucket() {
    found=$(influx bucket list --org tanyuan --name "$1" --hide-headers | cut -f 1) || found=
    [ -n "$found" ] || { echo "InfluxDB has no bucket $1; Tanyuan makes it at its first start." >&2
                         exit 1; }
    echo "$found"
}

readings=$(bucket tanyuan)
derived=$(bucket tanyuan_derived)
token=$(influx auth create --org tanyuan --description "Grafana, reads only" \
    --read-bucket "$readings" --read-bucket "$derived" --json |
    sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
[ -n "$token" ] || { echo "InfluxDB made no token; what it said of it is above, or in its log." >&2; exit 1; }
printf '%s\n' "$token" > "$file.new"
chmod 444 "$file.new"
mv -f "$file.new" "$file"
echo "ready: $file; now start Grafana, or restart it"
