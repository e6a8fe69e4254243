"""The machine a figure was measured on, and what its processes use."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def describe(folder: Path) -> dict[str, Any]:
    """Cores, processor, versions, load, and the file system of a folder."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("duckdb", "numpy", "orjson", "paho-mqtt")},
        "mosquitto": mosquitto_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "file_system": _file_system(folder),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    }


def sentence(found: dict[str, Any]) -> str:
    """The same in two lines."""
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    return (
        f"{found['cores']} cores, {found['cpu']}, {found['memory_mb'] >> 10} GB, "
        f"{found['system']}, files on {found['file_system']}\n"
        f"Python {found['python']}, {packages}, mosquitto {found['mosquitto'] or 'none'}; "
        f"load average {', '.join(map(str, found['load']))}"
    )


def mosquitto() -> str | None:
    """Where Mosquitto is; Debian puts it where not every user looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def mosquitto_version() -> str | None:
    """Its version; None where there is none."""
    program = mosquitto()
    if program is None:
        return None
    said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False)
    first = (said.stdout or said.stderr).splitlines()[:1]
    return first[0].removeprefix("mosquitto version ") if first else "?"


def cpu_s(pid: int) -> float:
    """The processor time a process has used, its threads together. [s]."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def peak_mb(pid: int | str = "self") -> float:
    """The most memory a process ever had resident. [MB]."""
    return _status_mb(pid, "VmHWM")


def resident_mb(pid: int | str = "self") -> float:
    """The memory a process has resident. [MB]."""
    return _status_mb(pid, "VmRSS")


def _status_mb(pid: int | str, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/{pid}/status has no {name}")


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """The kind of file system: on one in memory a sync costs nothing."""
    best, kind = "", "?"
    mounts = Path("/proc/mounts")
    for line in mounts.read_text().splitlines() if mounts.is_file() else []:
        _, place, name = line.split()[:3]
        if folder.is_relative_to(place) and len(place) >= len(best):
            best, kind = place, name
    return kind
