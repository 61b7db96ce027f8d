#!/usr/bin/env bash
# Installs the Debian packages that the end-to-end tests need: dig, setpriv and flock, Prometheus, and libfaketime.
# Does nothing if all are installed.
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
  printf 'deps-e2e: missing Debian packages: %s; install them, or run this as root on a system with apt-get\n' "${packages[*]}" >&2
  exit 1
fi
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends "${packages[@]}"; } >&2
