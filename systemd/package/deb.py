"""Build the Debian package from this tree: `python systemd/package/deb.py [--level 1]`, for `make deb`. No network is needed.

It fits the Debian release that it is built on: libraries are compiled for one minor version of Python, and Depends says which.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from stage import version

HERE: Final = Path(__file__).resolve().parents[2]
MINOR: Final = sys.version_info.minor

_CONTROL: Final = """\
Package: containment-agent
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Section: admin
Priority: optional
Depends: {needs}
Recommends: polkitd
Description: watches a host, decides by policies, contains attacks and outages
 A daemon that reads logs, services and PostgreSQL, decides by YAML policies, and blocks, limits, revokes or isolates.
 It starts in dry run, keeps evidence before it acts, and undoes what it did in time.
"""
_NEEDS: Final = (
    f"python3 (>= 3.{MINOR})", f"python3 (<< 3.{MINOR + 1})", "nftables (>= 1.0.6)", "systemd (>= 252)", "libc6 (>= 2.28)",
    "passwd",
)  # fmt: skip
_JOURNAL: Final = "/var/lib/containment-agent/journal.db"
_OPEN: Final = f"at = sqlite3.connect('file:{_JOURNAL}?mode=ro', uri=True)"
_ASK: Final = f"import sqlite3; {_OPEN}; print(*at.execute('pragma user_version').fetchone())"
_PREINST: Final = f"""\
#!/bin/sh
set -e
# A journal that this version could not read is seen while the one that can still runs. As the agent's
# user: what SQLite leaves is its.
case "$1" in install|upgrade) ;; *) exit 0 ;; esac
[ -e {_JOURNAL} ] && command -v python3 >/dev/null || exit 0
has=$(runuser -u containment -- python3 -I -c "{_ASK}" 2>/dev/null) || exit 0
[ "$has" -gt @KNOWS@ ] || exit 0
echo "containment-agent: cannot go to version @VERSION@: it knows journals of version @KNOWS@, and the one here has $has." >&2
echo "containment-agent: nothing was changed." >&2
echo "containment-agent: stay with ${{2:-a newer version}}; or keep the evidence (contain evidence export), stop the agent," >&2
echo "containment-agent: move {_JOURNAL}* away, and begin a new journal" >&2
exit 1
"""
_POSTINST: Final = """\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
if [ -n "$2" ] && dpkg --compare-versions "$2" gt @VERSION@; then
    echo "containment-agent: @VERSION@ replaces the newer $2; it reads the journal that is there, and goes on with it"
fi
exec /usr/lib/containment-agent/setup configure
"""
_PRERM: Final = """\
#!/bin/sh
set -e
[ "$1" = remove ] || exit 0
exec /usr/lib/containment-agent/setup stop
"""
_POSTRM: Final = """\
#!/bin/sh
set -e
if [ "$1" = remove ]; then
    rm -rf /usr/lib/containment-agent
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
fi
[ "$1" = purge ] || exit 0
"""


def main() -> None:
    """Build it, and print where it is."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path, default=HERE / "dist", help="where the package is put")
    asked.add_argument("--version", default=version(), help="as the package is to say")
    asked.add_argument("--level", default="9", help="how hard zstd tries, 1 to 19")
    given = asked.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="deb-") as made:
        root = Path(made)
        root.chmod(0o755)
        stage = (sys.executable, HERE / "systemd/package/stage.py", root, "--version", given.version)
        _run(*stage, "--prefix", "/usr", "--python", f"/usr/bin/python3.{MINOR}")
        _describe(root, given.version)
        architecture = _architecture()
        target = given.out / f"containment-agent_{given.version}_{architecture}.deb"
        _run("dpkg-deb", "-Zzstd", f"-z{given.level}", "--root-owner-group", "--build", root, target)
    sys.stdout.write(f"{target}\n")


def _describe(root: Path, version: str) -> None:
    """What dpkg is told of it."""
    files = [one for one in root.rglob("*") if one.is_file() and not one.is_symlink()]
    size = sum(one.stat().st_size for one in files) // 1024
    control = root / "DEBIAN"
    control.mkdir()
    filled = _CONTROL.format(
        version=version,
        architecture=_architecture(),
        maintainer=os.environ.get("DEBFULLNAME", "Operators") + f" <{os.environ.get('DEBEMAIL', 'root@localhost')}>",
        size=size,
        needs=", ".join(_NEEDS),
    )
    (control / "control").write_text(filled)
    purge = (HERE / "systemd/package/purge.sh").read_text().partition("set -e\n")[2]
    for name, text in (("preinst", _PREINST), ("postinst", _POSTINST), ("prerm", _PRERM), ("postrm", _POSTRM + purge)):
        (control / name).write_text(text.replace("@VERSION@", version).replace("@KNOWS@", _journals()))
        (control / name).chmod(0o755)


def _journals() -> str:
    """The newest version of a journal that this tree's agent reads."""
    text = (HERE / "agent/evidence/journal_file.py").read_text(encoding="utf-8")
    found = re.search(r"^VERSION: Final = (\d+)$", text, re.MULTILINE)
    if not found:
        sys.exit("cannot say which journals it reads: agent/evidence/journal_file.py names no VERSION")
    return found[1]


def _architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def _run(*command: object) -> None:
    subprocess.run([*map(str, command)], timeout=900, check=True)


if __name__ == "__main__":
    main()
