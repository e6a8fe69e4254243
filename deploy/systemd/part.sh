#!/bin/sh
# Runs one command with the settings of one part, which its unit tanyuan@NAME has too. Install it as
# /usr/local/sbin/tanyuan-part; for root.
#
#   tanyuan-part NAME COMMAND...       such as: tanyuan-part serve-1 journal list
set -eu
name=${1:?usage: tanyuan-part NAME COMMAND...}
shift
case $name in
    *[!A-Za-z0-9_-]*) echo "Wanted the name of a part, such as serve-1, found '$name'." >&2
                      exit 1 ;;
esac
for file in shared "$name"; do
    [ -r "/etc/tanyuan/$file" ] || { echo "No /etc/tanyuan/$file that can be read." >&2; exit 1; }
done
set -a
. /etc/tanyuan/shared
. "/etc/tanyuan/$name"
TANYUAN_CONFIG=/etc/tanyuan/config
TANYUAN_HOME=/var/lib/tanyuan/$name
HOME=/var/lib/tanyuan
set +a
exec setpriv --reuid tanyuan --regid tanyuan --init-groups /opt/tanyuan/bin/tanyuan "$@"
