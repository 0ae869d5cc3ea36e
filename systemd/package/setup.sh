#!/bin/sh
# What follows once the files are there, and before they go: `setup configure|stop`, called by the package and by make.
# An upgrade restarts the agent and stops nothing else: what is blocked is blocked by the kernel at every moment.
set -e

LIB=@LIB@
SHARE=@SHARE@
VERSION=@VERSION@
PREFIX=${LIB%/lib/containment-agent}
ETC=/etc/containment-agent
CONFIG=$ETC/agent.yaml

running() { [ -d /run/systemd/system ]; }

say() { echo "containment-agent: $*"; }

# What runs is a copy, by hard links, of what is shipped. Whoever unpacks the next version takes no module away from under the
# agent, which may need one for the first time in an emergency, hours before the restart.
copy() {
    PLACE=$(mktemp -d "$LIB/$VERSION.XXXXXX")
    chmod 755 "$PLACE"
    cp -al "$LIB/shipped/." "$PLACE"
    rm "$PLACE/bin/contain"
    sed "1s#$LIB/shipped/#$PLACE/#" "$LIB/shipped/bin/contain" >"$PLACE/bin/contain"
    chmod 755 "$PLACE/bin/contain"
}

# From here on every start is of the new one; the link is there at every moment.
switch() {
    BEFORE=$(readlink "$LIB/current" || true)
    ln -sfn "${PLACE##*/}" "$LIB/current.new"
    mv -T "$LIB/current.new" "$LIB/current"
}

# Copies that nothing runs from any more.
forget() {
    RUN=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n') # a search beside it would find itself
    for one in "$LIB"/*.??????; do
        [ -d "$one" ] && [ "${one##*/}" != "$(readlink "$LIB/current")" ] || continue
        case $RUN in *"$one/"*) ;; *) rm -rf "$one" ;; esac
    done
}

prepare() {
    systemd-sysusers "$PREFIX/lib/sysusers.d/containment-agent.conf"
    systemd-tmpfiles --create "$PREFIX/lib/tmpfiles.d/containment-agent.conf"
    copy
    "$PLACE/bin/python" -I "$LIB/policies.py" "$SHARE/policies" "$ETC/policies" "$ETC/.shipped-policies"
    if [ ! -e "$CONFIG" ]; then
        # By the agent's own user: only what it may read is named there.
        umask 027
        runuser -u containment -- "$PLACE/bin/contain" init --output - --policies "$ETC/policies" >"$CONFIG.new"
        mv "$CONFIG.new" "$CONFIG"
        umask 022
        say "$CONFIG is written for this host, in dry run: it watches, and acts on nothing."
        say "see what is missing: contain doctor. What it sees and would do: contain status"
    else
        check
    fi
    systemd-tmpfiles --create "$PREFIX/lib/tmpfiles.d/containment-agent.conf"
    switch
    if running; then systemctl daemon-reload; fi
}

# An agent that works is never replaced by one that could not read what stands in /etc.
check() {
    said=$(runuser -u containment -- "$PLACE/bin/contain" policy check --config "$CONFIG" 2>&1) && return 0
    rm -rf "$PLACE"
    say "this version cannot work with what stands in $ETC:" >&2
    echo "$said" | tail -n 20 >&2
    say "the one before goes on. Mend that, and go on with: ${DPKG_MAINTSCRIPT_PACKAGE:+dpkg --configure }${DPKG_MAINTSCRIPT_PACKAGE:-make install}" >&2
    exit 1
}

# For the first time, or again after a removal. It may run all the same, from a tree of before there were copies.
begin() {
    systemctl --quiet enable containment-restore.service containment-expire.timer containment-agent.service
    running || return 0
    systemctl restart containment-expire.timer
    systemctl restart containment-agent.service || say "it did not start; systemctl status containment-agent says why" >&2
}

# Only what runs is restarted: who has stopped or disabled something has had a reason.
again() {
    running || return 0
    systemctl try-restart containment-expire.timer containment-report.timer || true
    systemctl try-restart containment-agent.service && return 0
    say "the new version did not start; systemctl status containment-agent says why" >&2
    say "back to the one before: ln -sfn $BEFORE $LIB/current && systemctl restart containment-agent" >&2
    return 1
}

# What only the agent can undo must not be left without one.
refuse_in_force() {
    [ -z "$CONTAINMENT_LEAVE" ] || return 0
    for _ in 1 2 3 4 5 6; do # a capsule goes a moment after what it would undo
        held=$(find /run/containment-agent/agent.undo -maxdepth 1 -name 'M-*.json' 2>/dev/null | sed 's#.*/##; s#\.json$##' | sort | tr '\n' ' ')
        [ -n "$held" ] || return 0
        sleep 0.5
    done
    say "still in force, and nobody could undo it once this is removed: $held" >&2
    say "first: contain undo all --why \"removing the agent\"; or set CONTAINMENT_LEAVE=1 to leave it so" >&2
    exit 1
}

stop() {
    refuse_in_force
    units="containment-report.timer containment-expire.timer containment-restore.service containment-agent.service"
    # shellcheck disable=SC2086
    systemctl --quiet disable $units 2>/dev/null || true
    running || return 0
    # shellcheck disable=SC2086
    systemctl stop $units containment-report.service containment-expire.service || true
}

case "$1" in
    configure) prepare; if [ -z "$BEFORE" ]; then begin; else again || exit 0; fi; forget ;;
    stop) stop ;;
    *) echo "usage: setup configure|stop" >&2; exit 2 ;;
esac
