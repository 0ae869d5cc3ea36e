"""Lay out an installed agent below a directory: `systemd/package/stage.py ROOT --prefix /usr`, for make install and make deb.

Its libraries are copied from the virtual environment that runs this, which pip filled by hash: exactly the versions of
requirements.lock, each file held against the hash in its RECORD. No network is needed. Compiled libraries fit one minor version
of Python, the one that runs this, and so does what is laid out here.
"""

from __future__ import annotations

import argparse
import base64
import compileall
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement

HERE: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"


def main() -> None:
    """Lay it out, and say how large it is."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("root", type=Path, help="what becomes / of the target")
    asked.add_argument("--prefix", default="/usr", help="where it is installed there")
    asked.add_argument("--python", default=f"/usr/bin/{PYTHON}", help="the Python that runs it there")
    asked.add_argument("--version", default=version(), help="what it calls itself")
    given = asked.parse_args()
    os.umask(0o022)
    _fits(given.python)
    library = f"{given.prefix}/lib/containment-agent"
    final = given.root / library.lstrip("/") / "shipped"
    place = final.with_name("shipped.new")
    shutil.rmtree(place, ignore_errors=True)
    packages = place / "lib" / PYTHON / "site-packages"
    count = sum(_copy(one, packages) for one in _locked())
    for name in ("agent", "actions"):
        shutil.copytree(HERE / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    _environment(place, f"{library}/shipped", given.python)
    compileall.compile_dir(packages, quiet=2, stripdir=str(place), prependdir=f"{library}/shipped")
    _swap(place, final)
    _beside(given.root, _Words(given.prefix, library, given.version))
    sys.stdout.write(f"{count} files of libraries and the agent for {given.python} are in {final}\n")


def _fits(python: str) -> None:
    """See that the target's Python can load what was compiled for ours."""
    mend = f"make clean setup PYTHON={python} makes a .venv that fits, or name another one with --python"
    try:
        asked = [python, "-c", "import sys; print('python%d.%d' % sys.version_info[:2])"]
        found = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"cannot install for {python}: {error}; {mend}")
    if found != PYTHON:
        sys.exit(f"cannot install for {python}: it is {found}, and .venv has libraries for {PYTHON}; {mend}")


# Libraries --------------------------------------------------------------------------------------------------------------


def _locked() -> Iterator[Distribution]:
    """What requirements.lock names for this platform, as it is installed here."""
    for line in re.findall(r"^[a-z0-9][^\\\n]*", (HERE / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE):
        wanted = Requirement(line.strip())
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            found = distribution(wanted.name)
        except PackageNotFoundError:
            sys.exit(f"cannot copy {wanted.name}: it is not in this environment; make setup")
        if found.version not in wanted.specifier:
            sys.exit(f"cannot copy {wanted}: {found.version} is installed; make clean setup")
        yield found


def _copy(one: Distribution, target: Path) -> int:
    """Copy what its RECORD names, but for scripts; how many files that were."""
    count = 0
    for file in one.files or []:
        if ".." in file.parts or file.suffix == ".pyc" or file.hash is None:
            continue  # commands, what Python compiled here, and what pip noted about this machine
        content = Path(str(one.locate_file(file))).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, content).digest()).rstrip(b"=").decode()
        if digest != file.hash.value:
            sys.exit(f"cannot copy {file} of {one.name}: it is not what was installed; make clean setup")
        place = target / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        count += 1
    return count


def _environment(place: Path, final: str, python: str) -> None:
    """What makes a directory a virtual environment, and the command. Its first line names where it is: setup.sh copies it."""
    (place / "bin").mkdir(parents=True)
    for name in ("python", "python3", PYTHON):
        (place / "bin" / name).symlink_to(python)
    config = f"home = {Path(python).parent}\ninclude-system-site-packages = false\nversion = {sysconfig.get_python_version()}\n"
    (place / "pyvenv.cfg").write_text(config)
    command = place / "bin" / "contain"
    command.write_text(f"#!{final}/bin/python -I\nimport sys\n\nfrom agent.__main__ import main\n\nsys.exit(main())\n")
    command.chmod(0o755)


def _swap(made: Path, final: Path) -> None:
    """Nothing runs from here: setup.sh makes a copy of it for that."""
    shutil.rmtree(final, ignore_errors=True)
    made.rename(final)


# Everything else --------------------------------------------------------------------------------------------------------


class _Words(NamedTuple):
    """What is filled in where a file says @LIB@, @SHARE@ or @VERSION@."""

    prefix: str
    library: str
    version: str

    @property
    def share(self) -> str:
        return f"{self.prefix}/share/containment-agent"

    def write(self, target: Path, source: Path, mode: int = 0o644) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8").replace("@LIB@", self.library).replace("@SHARE@", self.share)
        target.write_text(text.replace("@VERSION@", self.version), encoding="utf-8")
        target.chmod(mode)


def _beside(root: Path, words: _Words) -> None:
    """Units, what makes the user and the directories, drop-ins to choose from, policies, the manual, completion, the command."""
    below, library, share = (root / one.lstrip("/") for one in (words.prefix, words.library, words.share))
    words.write(library / "setup", HERE / "systemd/package/setup.sh", mode=0o755)
    words.write(library / "policies.py", HERE / "systemd/package/policies.py")
    units = below / "lib/systemd/system"
    for file in sorted([*HERE.glob("systemd/*.service"), *HERE.glob("systemd/*.timer")]):
        words.write(units / file.name, file)
    words.write(units / "containment-restore.service.d/zz-alone.conf", HERE / "systemd/restore-alone.conf")
    for kind in ("sysusers", "tmpfiles"):
        words.write(below / f"lib/{kind}.d/containment-agent.conf", HERE / f"systemd/containment-agent.{kind}")
    for file in sorted([*HERE.glob("systemd/dropins/*.conf"), *HERE.glob("systemd/polkit/*.rules")]):
        words.write(share / file.parent.name / file.name, file)
    words.write(share / "README.md", HERE / "README.md")
    for name in ("policies", "docs"):
        shutil.rmtree(share / name, ignore_errors=True)  # or what is no longer shipped stays, from one `make install` to the next
        for file in sorted(one for one in (HERE / name).rglob("*") if one.is_file() and not _is_manual(one)):
            _copy_file(file, share / name / file.relative_to(HERE / name))
    for file in sorted(filter(_is_manual, (HERE / "docs").rglob("*"))):
        manual = below / f"share/man/man{file.suffix[1:]}" / f"{file.name}.gz"
        manual.parent.mkdir(parents=True, exist_ok=True)
        manual.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    completion = below / "share/bash-completion/completions/contain"
    completion.parent.mkdir(parents=True, exist_ok=True)
    asked = [sys.executable, "-m", "agent", "completion", "bash"]
    completion.write_bytes(subprocess.run(asked, cwd=HERE, stdout=subprocess.PIPE, timeout=30, check=True).stdout)
    command = below / "bin/contain"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.unlink(missing_ok=True)
    command.symlink_to(f"{words.library}/current/bin/contain")


def _is_manual(file: Path) -> bool:
    return file.is_file() and re.fullmatch(r"\.[1-8]", file.suffix) is not None


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def version() -> str:
    """As pyproject.toml says."""
    return str(tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


if __name__ == "__main__":
    main()
