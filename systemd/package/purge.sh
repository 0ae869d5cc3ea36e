#!/bin/sh
# Leave nothing: tables in the kernel, state and evidence, configuration, user, units. Nothing of the agent's is needed for it.
set -e

for table in containment containment_host containment_packets; do
    if nft list table inet "$table" 2>/dev/null | grep -q 'comment "containment-agent'; then nft delete table inet "$table"; fi
done
if [ -d /run/systemd/system ]; then
    systemctl stop 'containment-*' 2>/dev/null || true
fi
rm -rf /etc/systemd/system/containment-*.service.d /etc/systemd/system/containment-.service.d /etc/systemd/system/*.wants/containment-*
rm -f /etc/polkit-1/rules.d/50-containment.rules
rm -rf /var/lib/containment-agent /var/log/containment-agent /run/containment-agent /etc/containment-agent
rm -f /var/lib/systemd/timers/stamp-containment-*
if getent passwd containment >/dev/null; then userdel containment; fi
if getent group containment >/dev/null; then groupdel containment; fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl reset-failed 'containment-*' 2>/dev/null || true
fi
