#!/bin/sh
# Take away what `make install` put there: uninstall.sh DESTDIR PREFIX [PURGE]. Configuration and evidence stay, unless PURGE is given.
set -e

ROOT=$1 PREFIX=$2 PURGE=$3
UNDER=$ROOT$PREFIX

if [ -z "$ROOT" ] && [ -x "$UNDER/lib/containment-agent/setup" ]; then "$UNDER/lib/containment-agent/setup" stop; fi
rm -rf "$UNDER/lib/containment-agent" "$UNDER/share/containment-agent" "$UNDER/lib/systemd/system/containment-restore.service.d"
rm -f "$UNDER/bin/contain" "$UNDER/lib/systemd/system"/containment-* 2>/dev/null || true
rm -f "$UNDER"/share/man/man[158]/contain.1.gz "$UNDER"/share/man/man[158]/agent.yaml.5.gz "$UNDER"/share/man/man[158]/containment-agent.8.gz
rm -f "$UNDER/share/bash-completion/completions/contain"
rm -f "$UNDER/lib/sysusers.d/containment-agent.conf" "$UNDER/lib/tmpfiles.d/containment-agent.conf"
if [ -z "$ROOT" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
if [ -z "$ROOT" ] && [ -n "$PURGE" ]; then "$(dirname "$0")/purge.sh"; fi
