#!/usr/bin/env bash
# Make sure that there is a mosquitto for the broker tests, which start one of their own on a free port.
# Exit code 0: it is there. 3: it is not, and the broker tests have to be skipped. Anything else: give up.
set -euo pipefail

found() { PATH="$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin" command -v mosquitto >/dev/null; }

# Debian would start its own broker on port 1883; a policy of "no" keeps it from doing so while we install.
policy=/usr/sbin/policy-rc.d
forbid_services() {
  [ -e "$policy" ] && return
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 "$@" </dev/null >&2; }

install_mosquitto() {
  forbid_services
  echo "installing mosquitto for the broker tests" >&2
  apt install --no-install-recommends mosquitto || { apt update && apt install --no-install-recommends mosquitto; }
}

missing() {
  echo "mosquitto is not installed; the broker tests need it. Install it with: $1" >&2
  if [ "${CI:-}" = true ]; then
    echo "CI does not skip tests: giving up" >&2
    exit 1
  fi
  echo "THE BROKER TESTS ARE SKIPPED" >&2
  exit 3
}

found && exit 0
if command -v apt-get >/dev/null; then
  [ "$(id -u)" = 0 ] || missing "sudo apt-get install mosquitto"
  install_mosquitto || missing "apt-get install mosquitto"
  found || missing "apt-get install mosquitto"
elif command -v brew >/dev/null; then
  missing "brew install mosquitto"
else
  missing "your system's package manager"
fi
