#!/usr/bin/env bash
# Installs what the end-to-end tests call and a Debian may lack: dig, setpriv with flock, Prometheus, and libfaketime.
# Does nothing when they are there.
set -euo pipefail

packages=()
command -v dig > /dev/null || packages+=(bind9-dnsutils)
for tool in setpriv flock; do
  command -v "$tool" > /dev/null || { packages+=(util-linux); break; }
done
[ -x /usr/bin/prometheus ] || packages+=(prometheus)
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' > /dev/null || packages+=(libfaketime)
[ "${#packages[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  printf 'deps-e2e: install %s (names of Debian packages), or run as root where there is apt-get\n' "${packages[*]}" >&2
  exit 1
fi
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends "${packages[@]}"; } >&2
