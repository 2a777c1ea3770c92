"""
Every setting, once: name, default and one sentence of help.

Configuration flows one way: defaults < environment (``CONNECTOME_*``) < arguments → one frozen ``Settings``, which
``create_app`` is given.  Nothing below the web reads the environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from connectome.errors import ConfigurationError
from connectome.network import Origins

Origin = Literal["default", "environment", "argument"]

_PREFIX = "CONNECTOME_"


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """The settings of one server; each field is also ``CONNECTOME_<FIELD>`` and an option of ``connectome serve``."""

    data: Path = _setting(Path("data"), "The data directory; it is made where there is none.")
    host: str = _setting("127.0.0.1", "The address to listen on; 0.0.0.0 lets other machines in.")
    port: int = _setting(8000, "The port to listen on; 0 takes a free one.")
    server: str = _setting("auto", "What speaks HTTP: granian, waitress, or auto for granian where it is installed.")
    threads: int = _setting(8, "How many requests are worked on at the same time.")
    durability: str = _setting("full", "When a write is synced: full, interval, os or memory; see docs/durability.md.")
    checkpoint_writes: int = _setting(100_000, "A journal of more writes than this is folded into its data file.")
    checkpoint_bytes: int = _setting(1024 * 1024, "So is one of more bytes than this and than its data file.")
    cache_bytes: int = _setting(
        256 * 1024 * 1024, "How much memory the indexes and encoded documents of one collection may take."
    )
    max_body_bytes: int = _setting(16 * 1024 * 1024, "The largest request body that is read; larger ones are 413.")
    max_time_seconds: int = _setting(10, "How long a request may match and sort; one that takes longer is 400.")
    admin_token: str = _setting("", "The administrator's token; made and kept in the data directory where empty.")
    cors: str = _setting(
        "",
        "Web pages of which origins may call the operations: comma-separated origins, loopback for those on this "
        "machine, * for all.",
    )
    metrics_token: str = _setting("", "A token that opens /-/metrics and nothing else; the administrator's does too.")
    # Of those that ``from_environ`` was given, where from.
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, bounds in _BOUNDS.items():
            if getattr(self, name) not in bounds:
                expected = f"from {bounds[0]} to {bounds[-1]}" if isinstance(bounds, range) else " or ".join(bounds)
                raise ConfigurationError(f"{name} is {expected}, not {getattr(self, name)}")
        _ = self.origins_allowed

    def origin(self, name: str) -> Origin:
        """Where the value of a setting comes from."""
        changed = getattr(self, name) != self.__dataclass_fields__[name].default
        return self.origins.get(name, "argument" if changed else "default")

    @property
    def origins_allowed(self) -> Origins:
        """The origins of ``cors``."""
        return Origins.read(self.cors)

    @property
    def embedded(self) -> dict[str, Any]:
        """What the embedded store is told."""
        names = ("durability", "checkpoint_writes", "checkpoint_bytes", "cache_bytes")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
        """
        The settings of an environment, with those arguments over it that are not None.

        Raises:
            ConfigurationError: A ``CONNECTOME_`` variable that is no setting, or a value that does not fit.
        """
        values: dict[str, Any] = {}
        names = {variable(name): name for name, _ in described()}
        for key, text in (os.environ if environ is None else environ).items():
            if key in names:
                values[names[key]] = _typed(key, text, cls.__dataclass_fields__[names[key]].default)
            elif key.startswith(_PREFIX) and not key.startswith(_PREFIX + "TEST_"):
                nearest = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(names)}"
                raise ConfigurationError(f"{key} is no setting; {hint}")
        given = {name: value for name, value in arguments.items() if value is not None}
        origins: dict[str, Origin] = {**dict.fromkeys(values, "environment"), **dict.fromkeys(given, "argument")}
        return cls(**{**values, **given}, origins=origins)


_BOUNDS: Final[dict[str, range | tuple[str, ...]]] = {
    "port": range(65536),
    "server": ("auto", "granian", "waitress"),
    "threads": range(1, 1001),
    "durability": ("full", "interval", "os", "memory"),
    "checkpoint_writes": range(1, 2**31),
    "checkpoint_bytes": range(1, 2**40),
    "cache_bytes": range(2**50),
    "max_body_bytes": range(1, 2**40),
    "max_time_seconds": range(1, 86401),
}


def described() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every setting: its name, and the field with its default and, in the metadata, its help."""
    for each in dataclasses.fields(Settings):
        if "help" in each.metadata:
            yield each.name, each


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return _PREFIX + name.upper()


def _typed(key: str, text: str, default: Any) -> Any:
    try:
        return type(default)(text) if not isinstance(default, Path) else Path(text)
    except ValueError:
        raise ConfigurationError(f"{key} needs a whole number, not {text!r}") from None
