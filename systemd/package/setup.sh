#!/bin/sh
# What follows once the files are there, and before they go: `setup install|upgrade|either|stop`, called by the package and by make.
# An upgrade restarts the agent and stops nothing else: what is blocked is blocked by the kernel at every moment.
set -e

LIB=@LIB@
PREFIX=${LIB%/lib/containment-agent}
CONFIG=/etc/containment-agent/agent.yaml

running() { [ -d /run/systemd/system ]; }

prepare() {
    systemd-sysusers "$PREFIX/lib/sysusers.d/containment-agent.conf"
    systemd-tmpfiles --create "$PREFIX/lib/tmpfiles.d/containment-agent.conf"
    if [ ! -e "$CONFIG" ]; then
        # By the agent's own user: only what it may read is named there.
        umask 027
        runuser -u containment -- "$LIB/bin/contain" init --output - --policies /etc/containment-agent/policies >"$CONFIG.new"
        mv "$CONFIG.new" "$CONFIG"
        systemd-tmpfiles --create "$PREFIX/lib/tmpfiles.d/containment-agent.conf"
        echo "containment-agent: $CONFIG is written for this host, in dry run: it watches, and acts on nothing."
        echo "containment-agent: see what is missing: contain doctor. What it sees and would do: contain status"
    fi
    if running; then systemctl daemon-reload; fi
}

begin() {
    systemctl --quiet enable containment-restore.service containment-expire.timer containment-agent.service
    running || return 0
    systemctl start containment-expire.timer
    systemctl start containment-agent.service || echo "containment-agent: it did not start; systemctl status containment-agent says why" >&2
}

again() {
    running || return 0
    systemctl try-restart containment-expire.timer || true
    systemctl try-restart containment-agent.service || echo "containment-agent: the new version did not start; systemctl status containment-agent says why" >&2
}

# What only the agent can undo must not be left without one.
refuse_in_force() {
    [ -z "$CONTAINMENT_LEAVE" ] || return 0
    for _ in 1 2 3 4 5 6; do # a capsule goes a moment after what it would undo
        held=$(find /run/containment-agent/agent.undo -maxdepth 1 -name 'M-*.json' 2>/dev/null | sed 's#.*/##; s#\.json$##' | sort | tr '\n' ' ')
        [ -n "$held" ] || return 0
        sleep 0.5
    done
    echo "containment-agent: still in force, and nobody could undo it once this is removed: $held" >&2
    echo "containment-agent: first: contain undo all --why \"removing the agent\"; or set CONTAINMENT_LEAVE=1 to leave it so" >&2
    exit 1
}

stop() {
    refuse_in_force
    systemctl --quiet disable containment-restore.service containment-expire.timer containment-agent.service 2>/dev/null || true
    running || return 0
    systemctl stop containment-expire.timer containment-expire.service containment-agent.service containment-restore.service || true
}

case "$1" in
    install) prepare; begin ;;
    upgrade) prepare; again ;;
    either) prepare; if systemctl --quiet is-enabled containment-agent.service 2>/dev/null; then again; else begin; fi ;;
    stop) stop ;;
    *) echo "usage: setup install|upgrade|either|stop" >&2; exit 2 ;;
esac
