"""
Every setting, once: name, default and one sentence of help.

Configuration flows one way: defaults < file (``connectome.toml``) < environment (``CONNECTOME_*``) < arguments → one
frozen ``Settings``, which ``create_app`` is given.  Nothing below the web reads the environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from connectome.errors import ConfigurationError
from connectome.network import Origins, Proxies, Rate

Origin = Literal["default", "file", "environment", "argument"]
# What of a setting nobody may see: all of it, or the password in a URL.
Secret = Literal["", "token", "url"]

FILE_NAME: Final = "connectome.toml"
# Where the file is, if it is not in the data directory.
FILE_VARIABLE: Final = "CONNECTOME_CONFIG"
# What platforms that run programs for others say it in.
PORT_VARIABLE: Final = "PORT"

_PREFIX: Final = "CONNECTOME_"
_FLAGS: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _setting(default: Any, help: str, *, short: str = "", secret: Secret = "", listed: bool = False) -> Any:
    """
    A setting.

    Args:
        short: The letter of its short option.
        secret: A ``token`` is no option, since other users of the machine can see those; either kind may be read from
            a file that ``CONNECTOME_…_FILE`` names, and is masked where it is shown.
        listed: Its value is several, with commas between; a file may have them as an array.
    """
    return field(default=default, metadata={"help": help, "short": short, "secret": secret, "listed": listed})


@dataclass(frozen=True)
class Settings:
    """
    The settings of one server.

    Each field is also ``CONNECTOME_<FIELD>``, a key of ``connectome.toml`` and an option of ``connectome serve``.
    """

    data: Path = _setting(Path("data"), "The data directory; it is made where there is none.")
    host: str = _setting("127.0.0.1", "The address to listen on; 0.0.0.0 lets other machines in.")
    port: int = _setting(8000, "The port to listen on; 0 takes a free one.", short="p")
    server: str = _setting(
        "auto",
        "What speaks HTTP: granian, waitress, gunicorn, or auto for granian where it is installed and strangers do not "
        "connect, else waitress.",
    )
    threads: int = _setting(8, "How many requests are worked on at the same time.")
    durability: str = _setting("full", "When a write is synced: full, interval, os or memory; see docs/durability.md.")
    checkpoint_writes: int = _setting(100_000, "A journal of more writes than this is folded into its data file.")
    checkpoint_bytes: int = _setting(1024 * 1024, "So is one of more bytes than this and than its data file.")
    cache_bytes: int = _setting(
        256 * 1024 * 1024, "How much memory the indexes and encoded documents of one collection may take."
    )
    max_body_bytes: int = _setting(16 * 1024 * 1024, "The largest request body that is read; larger ones are 413.")
    max_time_seconds: int = _setting(10, "How long a request may match and sort; one that takes longer is 400.")
    admin_token: str = _setting(
        "", "The administrator's token; made and kept in the data directory where empty.", secret="token"
    )
    cors: str = _setting(
        "",
        "Web pages of which origins may call the operations: comma-separated origins, loopback for those on this "
        "machine, * for all.",
        listed=True,
    )
    access_log: bool = _setting(False, "Log a line for every request: its route, never its URL.")
    log_format: str = _setting("text", "How log lines are written: text or json.")
    read_only: bool = _setting(False, "Refuse every write; what is there is read and exported.")
    public_url: str = _setting(
        "", "Where clients reach the server, if that is not where it listens, as behind a proxy."
    )
    console: bool = _setting(True, "Offer the pages of the console.")
    workers: int = _setting(1, "How many processes serve; more than one needs gunicorn and a MongoDB store.")
    example: str = _setting("", "A file that fills a directory without collections, as a collection of its name.")
    ready_file: str = _setting("", "A file that says url and pid, as JSON, while the server serves.")
    open: bool = _setting(False, "Open the console in the browser.")
    quiet: bool = _setting(False, "Print no greeting.", short="q")
    verbose: bool = _setting(False, "Log what is of use to whoever looks for a fault.", short="v")
    compress_bytes: int = _setting(
        4096, "Answers of this many bytes and more go out as gzip to clients that take it; 0 compresses none."
    )
    rate_limit: str = _setting(
        "", "How often each credential may ask, such as 50/s; as many may come at once. Empty for no limit."
    )
    failure_limit: str = _setting(
        "10/min",
        "How many wrong credentials may come from an address; by default this machine's own are not counted. Empty for "
        "no limit.",
    )
    trusted_proxy: str = _setting(
        "", "The addresses or networks of proxies whose X-Forwarded-… or Forwarded headers are believed."
    )
    max_document_bytes: int = _setting(
        16 * 1024 * 1024, "The largest document that is kept, as JSON; a larger one is 400 BSONObjectTooLarge."
    )
    max_query_terms: int = _setting(
        10_000, "How many names and elements a filter, projection, sort or update may have; more are 400 TooManyTerms."
    )
    max_in_values: int = _setting(100_000, "How many values $in and $nin may have; more are 400 TooManyValues.")
    max_result_documents: int = _setting(
        0, "How many documents an answer may have; more are 400 ResultTooLarge, 0 is no limit."
    )
    max_result_bytes: int = _setting(
        0, "How large an answer may be; a larger one is 400 ResultTooLarge, 0 is no limit."
    )
    max_connections: int = _setting(1000, "How many connections are open at the same time; others wait.")
    max_header_bytes: int = _setting(65536, "The largest head of a request; a larger one is refused.")
    idle_seconds: int = _setting(60, "After this long without a byte a connection is closed; see docs/limits.md.")
    min_bytes_per_second: int = _setting(
        240, "Who sends a request or takes an answer more slowly for as long is closed, too; 0 is no such bound."
    )
    metrics_token: str = _setting(
        "", "A token that opens /-/metrics and nothing else; the administrator's does too.", secret="token"
    )
    store: str = _setting(
        "", "The URL of a MongoDB database that keeps everything instead; see docs/scaling.md.", secret="url"
    )
    # Of those that ``from_environ`` was given, where from.
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, bounds in _BOUNDS.items():
            if getattr(self, name) not in bounds:
                expected = f"from {bounds[0]} to {bounds[-1]}" if isinstance(bounds, range) else " or ".join(bounds)
                raise ConfigurationError(f"{name} is {expected}, not {getattr(self, name)}")
        _ = self.origins_allowed
        if self.public_url and not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", self.public_url):
            raise ConfigurationError(f"public_url is http://… or https://… without ? and #, not {self.public_url!r}")
        object.__setattr__(self, "public_url", self.public_url.rstrip("/"))
        if self.workers > 1 and not self.shared:
            raise ConfigurationError(
                f"workers is 1, not {self.workers}, with the embedded store, which serves one process: use threads"
            )
        if self.workers > 1 and self.server != "gunicorn":
            raise ConfigurationError(
                f"workers is 1, not {self.workers}, with the server {self.server}: gunicorn has more"
            )
        _ = self.origins_allowed, self.request_rate, self.failure_rate, self.proxies

    def origin(self, name: str) -> Origin:
        """Where the value of a setting comes from."""
        changed = getattr(self, name) != self.__dataclass_fields__[name].default
        return self.origins.get(name, "argument" if changed else "default")

    @property
    def place(self) -> Path | str:
        """Where the collections are: the URL of a database where there is one, else the data directory."""
        return self.store or self.data

    @property
    def origins_allowed(self) -> Origins:
        """The origins of ``cors``."""
        return Origins.read(self.cors)

    @property
    def logs_requests(self) -> bool:
        """Whether requests have ids, which stand in what is logged of them."""
        return self.access_log or self.log_format == "json"

    @property
    def request_rate(self) -> Rate | None:
        """The rate of ``rate_limit``."""
        return Rate.read("rate_limit", self.rate_limit)

    @property
    def failure_rate(self) -> Rate | None:
        """The rate of ``failure_limit``."""
        return Rate.read("failure_limit", self.failure_limit)

    @property
    def proxies(self) -> Proxies:
        """The addresses of ``trusted_proxy``."""
        return Proxies.read(self.trusted_proxy)

    @property
    def embedded(self) -> dict[str, Any]:
        """What the embedded store is told."""
        names = ("durability", "checkpoint_writes", "checkpoint_bytes", "cache_bytes", "max_document_bytes")
        return {name: getattr(self, name) for name in names}

    @property
    def has_console(self) -> bool:
        """Whether there are pages; who is signed in to them is known to one process alone."""
        return self.console and self.workers == 1

    @property
    def shared(self) -> bool:
        """Whether other processes may have the store at the same time: MongoDB's, never the embedded one."""
        return self.store.startswith(("mongodb://", "mongodb+srv://"))

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        config: Path | None = None,
        in_data: bool = True,
        **arguments: Any,
    ) -> Settings:
        """
        The settings of a file, with an environment over it, and over that those arguments that are not None.

        Args:
            config: The file; where it is not given, what ``CONNECTOME_CONFIG`` names, else ``connectome.toml`` in the
                data directory, where there is one.
            in_data: Whether to look there; not for what has nothing to do with a data directory.

        Raises:
            ConfigurationError: A key or a ``CONNECTOME_`` variable that is no setting, a value that does not fit, a
                file that cannot be read.
        """
        environ = os.environ if environ is None else environ
        given = {name: value for name, value in arguments.items() if value is not None}
        environment = _environment(environ)
        named = config or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
        if named:
            file = _file(named)
        else:
            data = given.get("data", environment.get("data", cls.data))
            file = _own_file(Path(data)) if in_data else {}
        origins: dict[str, Origin] = {
            **dict.fromkeys(file, "file"),
            **dict.fromkeys(environment, "environment"),
            **dict.fromkeys(given, "argument"),
        }
        return cls(**{**file, **environment, **given}, origins=origins)


_BOUNDS: Final[dict[str, range | tuple[str, ...]]] = {
    "port": range(65536),
    "server": ("auto", "granian", "waitress", "gunicorn"),
    "threads": range(1, 1001),
    "durability": ("full", "interval", "os", "memory"),
    "checkpoint_writes": range(1, 2**31),
    "checkpoint_bytes": range(1, 2**40),
    "cache_bytes": range(2**50),
    "max_body_bytes": range(1, 2**40),
    "max_time_seconds": range(1, 86401),
    "log_format": ("text", "json"),
    "workers": range(1, 1001),
    "compress_bytes": range(2**40),
    "max_document_bytes": range(1, 2**40),
    "max_query_terms": range(1, 2**40),
    "max_in_values": range(1, 2**40),
    "max_result_documents": range(2**40),
    "max_result_bytes": range(2**40),
    "max_connections": range(1, 2**20),
    "max_header_bytes": range(8192, 2**24 + 1),
    "idle_seconds": range(1, 86401),
    "min_bytes_per_second": range(2**20),
}


def described() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every setting: its name, and the field with its default and, in the metadata, its help."""
    for each in dataclasses.fields(Settings):
        if "help" in each.metadata:
            yield each.name, each


def is_limit(name: str) -> bool:
    """Whether a setting says of something how much of it is allowed."""
    return name.startswith(("max_", "min_")) or name.endswith(("_limit", "idle_seconds"))


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return _PREFIX + name.upper()


def option(name: str) -> str:
    """The option of a setting: ``--no-…`` where it is on by itself; none where it holds a token."""
    if Settings.__dataclass_fields__[name].metadata["secret"] == "token":
        return ""
    return f"--{'no-' if getattr(Settings, name) is True else ''}{name.replace('_', '-')}"


def written(value: Any) -> str:
    """A value as it is written in the file."""
    # Whole numbers, booleans and strings look alike in JSON and TOML.
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def shown(name: str, value: Any) -> Any:
    """The value of a setting for people: what is secret in it is masked."""
    secret = Settings.__dataclass_fields__[name].metadata["secret"]
    if secret == "token":
        return masked(value)
    return re.sub(r"(?<=://)([^/@]*?):[^/]*@", r"\1:…@", value) if secret == "url" else value


def masked(secret: str) -> str:
    """As much of a secret as tells it from others: ``cr_…Ab12``; nothing of one that is short."""
    return f"{secret[:3]}…{secret[-4:]}" if len(secret) >= 20 else "…" if secret else ""


def nearest(given: str, among: Iterable[str]) -> str:
    """What to add to the refusal of a name: the one that was meant; else those there are."""
    names = list(among)
    found = difflib.get_close_matches(given, names, n=1)
    return f"did you mean {found[0]}?" if found else f"expected one of {', '.join(names)}"


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    names = {variable(name): name for name, _ in described()}
    files = {f"{variable(name)}_FILE": name for name, each in described() if each.metadata["secret"]}
    if PORT_VARIABLE in environ:
        values["port"] = _from_text(PORT_VARIABLE, environ[PORT_VARIABLE], "port")
    for key, text in environ.items():
        if key in names:
            values[names[key]] = _from_text(key, text, names[key])
        elif key in files:
            if variable(files[key]) in environ:
                raise ConfigurationError(f"{variable(files[key])} and {key} are both set: one of them says it")
            values[files[key]] = _secret(key, Path(text))
        elif key.startswith(_PREFIX) and not key.startswith(_PREFIX + "TEST_") and key != FILE_VARIABLE:
            raise ConfigurationError(f"{key} is no setting; {nearest(key, [*names, *files, FILE_VARIABLE])}")
    return values


def _secret(key: str, path: Path) -> str:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{key} names {path}, which cannot be read: {reason}") from None
    if not text:
        raise ConfigurationError(f"{key} names {path}, which is empty")
    return text


def _from_text(key: str, text: str, name: str) -> Any:
    default = getattr(Settings, name)
    if type(default) is bool:
        if text.lower() not in _FLAGS:
            raise ConfigurationError(f"{key} needs true or false, not {text!r}")
        return _FLAGS[text.lower()]
    if type(default) is int:
        try:
            return int(text)
        except ValueError:
            raise ConfigurationError(f"{key} needs a whole number, not {text!r}") from None
    return Path(text) if isinstance(default, Path) else text


def _own_file(data: Path) -> dict[str, Any]:
    """What the file in a data directory says; nothing where there is none."""
    path = data / FILE_NAME
    if not path.is_file():
        return {}
    values = _file(path)
    if "data" in values:
        raise ConfigurationError(f"{path}: data is where this file is; a file elsewhere, with --config, may name it")
    return values


def _file(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        record = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # neither TOML nor UTF-8
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    names = [name for name, _ in described()]
    for key in record:
        if key not in names:
            raise ConfigurationError(f"{path}: {key} is no setting; {nearest(key, names)}")
    return {name: _from_file(path, name, value) for name, value in record.items()}


def _from_file(path: Path, name: str, value: Any) -> Any:
    default = getattr(Settings, name)
    if Settings.__dataclass_fields__[name].metadata["listed"] and type(value) is list:
        value = ",".join(map(str, value))
    expected = str if isinstance(default, Path) else type(default)
    if type(value) is not expected:
        words = {bool: "true or false", int: "a whole number", str: "a string"}
        came = "" if Settings.__dataclass_fields__[name].metadata["secret"] else f", not {value!r}"
        raise ConfigurationError(f"{path}: {name} needs {words[expected]}{came}")
    # A path in a file is seen from there, wherever the command is given.
    return path.parent / value if isinstance(default, Path) else value
