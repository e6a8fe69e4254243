"""What the doctor looks at on the machine: Python, libraries, limits, ports, the broker."""

from __future__ import annotations

import re
import resource
import socket
import sys
from collections.abc import Sequence
from importlib import metadata

from api.doctor import Check, Examination, Patient
from ingest.subscriber import Broker, parse_broker_url

_PYTHON = ((3, 11), (3, 14))
"""At least, and below."""

_ENOUGH_FILES = 16_384
_CONNECT_S = 5.0


def check_python(_: Patient) -> Sequence[Check]:
    """Python is one that is supported."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    if _PYTHON[0] <= sys.version_info[:2] < _PYTHON[1]:
        return [Check("python", "ok", f"Python {found}.")]
    remedy = "Install Tanyuan into an environment of Python 3.11, 3.12 or 3.13."
    return [Check("python", "fail", f"Python {found} is not supported.", remedy)]


def check_libraries(_: Patient) -> Sequence[Check]:
    """Every library is there, in a version that fits."""
    remedy = "Install again, with the pins: pip install -c constraints.txt ."
    try:
        wanted = metadata.requires("tanyuan") or []
    except metadata.PackageNotFoundError:
        return [Check("libraries", "warn", "Tanyuan runs without being installed.", remedy)]
    problems = [p for each in wanted if "extra ==" not in each and (p := _misfit(each))]
    if problems:
        return [Check("libraries", "fail", " ".join(problems), remedy)]
    count = sum("extra ==" not in each for each in wanted)
    return [Check("libraries", "ok", f"All {count} libraries are there and fit.")]


def _misfit(requirement: str) -> str:
    """What is wrong with one library; empty if it fits."""
    found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)", requirement)
    if found is None:
        return f"{requirement!r} cannot be read."
    name, bounds = found[1], found[2].strip(" ()")
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing."
    for bound in filter(None, (part.strip() for part in bounds.split(","))):
        if not _fits(version, bound):
            return f"{name} is {version}, wanted {bounds}."
    return ""


def _fits(version: str, bound: str) -> bool:
    sign = re.match(r"[<>=!~]+", bound)
    if sign is None:
        return True
    have, want = _numbers(version), _numbers(bound[sign.end() :])
    tests = {">=": have >= want, "<": have < want, "<=": have <= want, ">": have > want}
    return tests.get(sign[0], True)


def _numbers(version: str) -> tuple[int, ...]:
    parts = [int(number) for number in re.findall(r"\d+", version)[:3]]
    return tuple([*parts, 0, 0, 0][:3])


def check_open_files(_patient: Patient) -> Sequence[Check]:
    """Enough files may be open: every gateway and every page takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _ENOUGH_FILES:
        return [Check("open_files", "ok", f"Up to {hard} files may be open.")]
    remedy = "Raise the hard limit: LimitNOFILE=65536 in the service unit, or ulimit -Hn 65536."
    text = f"Only {hard} files may be open, and every gateway takes one."
    return [Check("open_files", "warn", text, remedy)]


def check_ports(patient: Patient) -> Sequence[Check]:
    """The ports are free, or ours."""
    running, settings = patient.running, patient.settings
    if running is not None:
        mqtt = f"MQTT is on {running.mqtt_port}, " if running.mqtt_port else ""
        return [Check("ports", "ok", f"{mqtt}HTTP is on {running.http_port}: ours.")]
    doors = (
        ("TANYUAN_MQTT_PORT", settings.mqtt_bind, settings.mqtt_port),
        ("TANYUAN_HTTP_PORT", settings.http_bind, settings.http_port),
    )
    problems = [(name, text) for name, bind, port in doors if (text := _taken(bind, port))]
    if problems:
        names = ", ".join(name for name, _ in problems)
        remedy = f"Stop what listens there (ss -ltnp shows it), or set {names} to other ports."
        return [Check("ports", "fail", " ".join(text for _, text in problems), remedy)]
    return [Check("ports", "ok", f"{settings.mqtt_port} and {settings.http_port} are free.")]


def _taken(bind: str, port: int) -> str:
    """Why a port cannot be listened on; empty if it can."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            probe.listen()
        except OSError as error:
            return f"Cannot listen on {bind}:{port} ({error.strerror})."
    return ""


def check_broker(patient: Patient) -> Sequence[Check]:
    """The outside broker can be reached, and takes our user."""
    settings = patient.settings
    if not settings.broker:
        return [Check("broker", "ok", "No outside broker is configured.")]
    broker = parse_broker_url(settings.broker)
    found = [] if broker.tls or _is_near(broker.host) else [_unprotected(settings.broker)]
    if patient.running is not None:
        return found  # its own session is in what it says of itself
    problem = _connect(patient, broker)
    if problem:
        remedy = (
            "See that the broker runs and is reached from here, that TANYUAN_BROKER names it and "
            "its user, that TANYUAN_BROKER_PASSWORD is that user's, and that TANYUAN_BROKER_CA "
            "holds the certificate it is to be trusted by."
        )
        return [*found, Check("broker", "fail", f"{settings.broker}: {problem}", remedy)]
    return [*found, Check("broker", "ok", f"{settings.broker} takes us.")]


def _is_near(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")


def _unprotected(url: str) -> Check:
    remedy = "Use mqtts:// with TANYUAN_BROKER_CA, unless that network is trusted."
    text = f"{url} is read without encryption; the password can be seen on the way."
    return Check("broker_encryption", "warn", text, remedy)


def _connect(patient: Patient, broker: Broker) -> str:
    """Connect once and go again; what went wrong, empty if nothing did.

    A broker that names sessions after users hands us the collector's own, with all that waits in
    it. So nothing is acknowledged and no session is ended unless it is new, hence ours.
    """
    from api.doctor_broker import visit

    settings = patient.settings
    secret = settings.broker_password
    return visit(
        broker,
        password=secret.get_secret_value() if secret else None,
        ca_file=settings.broker_ca,
        is_mqtt5=settings.broker_protocol == "5",
        timeout_s=_CONNECT_S,
    )


EXAMINATIONS: Sequence[tuple[str, Examination]] = (
    ("python", check_python),
    ("libraries", check_libraries),
    ("open_files", check_open_files),
    ("ports", check_ports),
    ("broker", check_broker),
)
