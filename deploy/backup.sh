#!/usr/bin/env bash
# Backup of one machine: keys and configuration sealed to a certificate whose private key is elsewhere; session logs copied as they are
# (they are signed and chained, and what must be secret in them is sealed under the case's key), each new one verified first.
#
#   backup.sh CONFIG_DIR STATE_DIR TARGET_DIR CERTIFICATE.pem
#
# Restore keys:  openssl cms -decrypt -binary -inform DER -in keys-DATE.cms -inkey backup.key -out keys.tar && tar -xpf keys.tar
set -euo pipefail
if [ $# -ne 4 ]; then sed -n '2,7p' "$0" >&2; exit 2; fi
config=$1 state=$2 target=$3 certificate=$4
longhand=${LONGHAND:-longhand}
umask 077
[ -d "$config" ] || { echo "backup: $config is no folder" >&2; exit 1; }
openssl x509 -in "$certificate" -noout -checkend 0 >/dev/null || { echo "backup: $certificate has expired or is no certificate" >&2; exit 1; }
mkdir -p "$target/logs"

sealed="$target/keys-$(date -u +%Y%m%dT%H%M%SZ).cms"
tar -C / -cpf - "${config#/}" $( [ -d "$state" ] && find "$state" -type d \( -name keys -o -name epochs \) -printf '%P\n' | sed "s#^#${state#/}/#" ) \
  | openssl cms -encrypt -binary -aes-256-gcm -outform DER -out "$sealed.part" "$certificate"
mv "$sealed.part" "$sealed"
# Thirty of them are a month of nights.
find "$target" -maxdepth 1 -name 'keys-*.cms' | sort | head -n -30 | xargs -r rm --

bad=0 copied=0
if [ -d "$state" ]; then
  while IFS= read -r -d '' log; do
    copy="$target/logs/${log#"$state"/}"
    [ -e "$copy" ] && [ "$copy" -nt "$log" ] && continue
    # A log that is still being written has no close record yet; it is taken tomorrow.
    if find "$log" -mmin -10 | grep -q .; then continue; fi
    if ! "$longhand" verify "$log" >/dev/null; then echo "backup: $log does not verify; copied all the same, look at it" >&2; bad=1; fi
    mkdir -p "$(dirname "$copy")"
    cp --preserve=mode "$log" "$copy.part"
    cmp -s "$log" "$copy.part" || { echo "backup: $copy differs from $log" >&2; exit 1; }
    mv "$copy.part" "$copy"
    copied=$((copied + 1))
  done < <(find "$state" -name '*.mcap' -print0)
fi
echo "keys: $sealed ($(stat -c %s "$sealed") B); logs copied: $copied"
[ "$bad" = 0 ] || exit 3
