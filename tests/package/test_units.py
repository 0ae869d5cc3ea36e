"""The units as they are installed: what systemd says of them, without running them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.needs import need

HERE = Path(__file__).resolve().parents[2]
SERVICES = tuple(sorted(one.stem for one in (HERE / "systemd").glob("*.service")))


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units below a root of their own, with programs where they say they are; no library is copied for that."""
    need("systemd-analyze", "systemd")
    root = tmp_path_factory.mktemp("root")
    for source in sorted([*(HERE / "systemd").glob("*.service"), *(HERE / "systemd").glob("*.timer")]):
        text = source.read_text()
        for word, there in {"@LIB@/current/bin/contain": "/bin/true", "@LIB@": "/usr/lib", "@SHARE@": "/s"}.items():
            text = text.replace(word, there)
        (root / source.name).write_text(text)
    return root


@pytest.mark.parametrize("name", SERVICES)
def test_exposure_is_2_at_most(staged: Path, name: str) -> None:
    done = _analyze("security", "--offline=true", "--threshold=20", str(staged / f"{name}.service"))

    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_systemd_finds_no_mistake_in_any_unit(staged: Path) -> None:
    done = _analyze("verify", "--recursive-errors=yes", *sorted(map(str, staged.glob("*.*"))))

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(one.stem for one in (HERE / "systemd/dropins").glob("*.conf")))
def test_systemd_finds_no_mistake_in_a_drop_in(staged: Path, tmp_path: Path, name: str) -> None:
    unit = tmp_path / "containment-agent.service"
    unit.write_text((staged / "containment-agent.service").read_text())
    beside = tmp_path / "containment-agent.service.d"
    beside.mkdir()
    (beside / f"{name}.conf").write_text((HERE / "systemd/dropins" / f"{name}.conf").read_text())

    done = _analyze("verify", "--recursive-errors=yes", str(unit), *map(str, staged.glob("containment-[er]*")))

    assert (done.returncode, done.stderr) == (0, "")


def _analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=30, check=False)
