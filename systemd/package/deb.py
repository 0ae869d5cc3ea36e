"""Build the Debian package from this tree: `python systemd/package/deb.py [--level 1]`, for `make deb`. No network is needed.

It fits the Debian release that it is built on: libraries are compiled for one minor version of Python, and Depends says which.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

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
_POSTINST: Final = """\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
if [ -z "$2" ]; then exec /usr/lib/containment-agent/setup install; fi
exec /usr/lib/containment-agent/setup upgrade
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
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
[ "$1" = purge ] || exit 0
"""


def main() -> None:
    """Build it, and print where it is."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path, default=HERE / "dist", help="where the package is put")
    asked.add_argument("--version", default=_version(), help="as the package is to say")
    asked.add_argument("--level", default="9", help="how hard zstd tries, 1 to 19")
    given = asked.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="deb-") as made:
        root = Path(made)
        root.chmod(0o755)
        _run(sys.executable, HERE / "systemd/package/stage.py", root, "--prefix", "/usr", "--python", f"/usr/bin/python3.{MINOR}")
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
    kept = sorted(f"/{one.relative_to(root)}\n" for one in files if one.is_relative_to(root / "etc"))
    (control / "conffiles").write_text("".join(kept))
    purge = (HERE / "systemd/package/purge.sh").read_text().partition("set -e\n")[2]
    for name, text in (("postinst", _POSTINST), ("prerm", _PRERM), ("postrm", _POSTRM + purge)):
        (control / name).write_text(text)
        (control / name).chmod(0o755)


def _version() -> str:
    return str(tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["version"])


def _architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def _run(*command: object) -> None:
    subprocess.run([*map(str, command)], timeout=900, check=True)


if __name__ == "__main__":
    main()
