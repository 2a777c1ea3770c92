"""
Credentials: what opens a side of a collection, how it is made, compared, kept and shown.

A credential is kept as it is, where its owner may read it again, or ``sealed``: as the SHA-256 digest that it is
compared by.  No slow hash is needed for that: a credential has 192 random bits, which nobody guesses however fast, and
every single request is compared.  (One that the owner fixed is as good as he made it: docs/security.md.)
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal

from connectome.errors import InvalidRequest, at
from connectome.extjson import preview
from connectome.query import clock

Role = Literal["read", "write"]
ROLES: Final[tuple[Role, ...]] = ("read", "write")

_PREFIXES: Final[dict[Role, str]] = {"read": "cr_", "write": "cw_"}
# What stands in a URL as it is.  A lone "-" there means "see the Authorization header".
_SECRET: Final = re.compile(r"(?!-$)[A-Za-z0-9._~-]{1,256}")
# One that we made.
_OWN: Final = re.compile(r"c[rw]_[A-Za-z0-9_-]{32}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Of a shorter one, four characters would be too much of it.
_MIN_LENGTH_WITH_ENDING: Final = 16

_TEXT: Final = {"type": "string"}


def _kept(*roles: Role) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "role": {"enum": [*roles]},
            "secret": _TEXT,
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "ending": _TEXT,
            "created": _TEXT,
            "expires": _TEXT,
        },
        "required": ["role", "created"],
        "oneOf": [{"required": ["secret"]}, {"required": ["sha256"]}],
        "additionalProperties": False,
    }


# How the credentials of one collection are kept: by name.  Text is the credential of a role, as old as its collection:
# the form of all before there were names.
RECORD: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {role: {"anyOf": [_TEXT, _kept(role)]} for role in ROLES},
    "additionalProperties": _kept(*ROLES),
    "required": list(ROLES),
}


def new_secret(role: Role) -> str:
    """A fresh credential: a prefix for its role, then 192 random bits."""
    return _PREFIXES[role] + secrets.token_urlsafe(24)


def digest_of(secret: str) -> bytes:
    """What a credential is looked up by, and kept as where it is sealed."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def same_secret(one: str, other: str) -> bool:
    """Compare two secrets in a time that tells nothing of where they differ, nor how long they are."""
    return hmac.compare_digest(digest_of(one), digest_of(other))


def ending_of(secret: str) -> str:
    """What of a credential may be shown to tell it from others: its last four characters; "" of a short one."""
    return secret[-4:] if len(secret) >= _MIN_LENGTH_WITH_ENDING else ""


def now() -> datetime:
    """The time to the second, as it is kept."""
    return clock.now().replace(microsecond=0)


@dataclass(frozen=True)
class Credential:
    """
    One of the keys of a collection.

    name: unique in its collection; those that every collection has are called as their roles are.
    created: when it was made, ISO 8601.
    secret: what clients send; None where it is sealed.
    expires: in seconds since 1970; infinite where it does not.
    """

    name: str
    role: Role
    created: str
    digest: bytes = field(repr=False)
    ending: str
    secret: str | None = field(default=None, repr=False)
    expires: float = math.inf

    @classmethod
    def of(cls, name: str, role: Role, secret: str, *, created: str, expires: float = math.inf) -> Credential:
        """The credential with this secret."""
        return cls(name, role, created, digest_of(secret), ending_of(secret), secret, expires)

    @classmethod
    def from_record(cls, name: str, record: Any, created: str) -> Credential:
        """
        A credential as it was kept.

        Args:
            record: What satisfies ``RECORD``, under this name.
            created: When its collection was.
        """
        if isinstance(record, str):
            return cls.of(name, _role(name), record, created=created)
        expires = _seconds(record["expires"]) if "expires" in record else math.inf
        if "secret" in record:
            return cls.of(name, record["role"], record["secret"], created=record["created"], expires=expires)
        return cls(
            name,
            record["role"],
            record["created"],
            bytes.fromhex(record["sha256"]),
            record.get("ending", ""),
            expires=expires,
        )

    def record(self, created: str) -> Any:
        """What ``from_record`` makes it from again; ``created`` is when its collection was."""
        if self.secret is not None and (self.name, self.created, self.expires) == (self.role, created, math.inf):
            return self.secret
        kept = {"secret": self.secret} if self.secret else {"sha256": self.digest.hex(), "ending": self.ending}
        return {
            "role": self.role,
            **kept,
            "created": self.created,
            **({"expires": self.expires_at} if self.expires_at else {}),
        }

    @property
    def expires_at(self) -> str | None:
        """When it stops, ISO 8601; None where it does not."""
        return None if self.expires == math.inf else datetime.fromtimestamp(self.expires, UTC).isoformat()

    @property
    def masked(self) -> str:
        """As it is shown where it shall not be read, or cannot be any more: ``…a1b2``."""
        return f"…{self.ending}"


@dataclass(frozen=True)
class Credentials(Mapping[str, Credential]):
    """
    The keys of one collection, by name; ``read`` and ``write`` are always there.

    opening: of each role, those that open it by their digests.
    fixed: the secrets that are known and have not the form of those that we make.
    """

    named: Mapping[str, Credential]
    opening: dict[Role, dict[bytes, Credential]] = field(init=False, repr=False, compare=False)
    fixed: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        opening = {role: {each.digest: each for each in self.values() if each.role == role} for role in ROLES}
        object.__setattr__(self, "opening", opening)
        known = (each.secret for each in self.values())
        object.__setattr__(self, "fixed", tuple(each for each in known if each and not _OWN.fullmatch(each)))

    def __getitem__(self, name: str) -> Credential:
        return self.named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.named)

    def __len__(self) -> int:
        return len(self.named)

    @classmethod
    def given(cls, given: Mapping[str, Any], created: str) -> Credentials:
        """
        Those of a new collection: what the owner fixed, or what was kept of another; ``read`` and ``write`` at least.

        Args:
            given: Name → the credential, or what ``record`` made of one.

        Raises:
            InvalidRequest: A credential that no URL can hold.
        """
        for name, record in given.items():
            secret = record if isinstance(record, str) else record.get("secret")
            with at(name):
                if secret is not None and not _SECRET.fullmatch(secret):
                    raise InvalidRequest(
                        "a credential has 1 to 256 letters, digits, '.', '_', '~' and '-', and is not a lone '-'"
                    )
        return cls.from_record({**{role: new_secret(role) for role in ROLES}, **given}, created)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], created: str) -> Credentials:
        """As they were kept: what satisfies ``RECORD``; ``created`` is when the collection was."""
        return cls({name: Credential.from_record(name, each, created) for name, each in record.items()})

    def record(self, created: str) -> dict[str, Any]:
        """What ``from_record`` makes them from again."""
        return {name: each.record(created) for name, each in self.items()}

    def sealed(self) -> Credentials:
        """The same, without what can be read."""
        return Credentials({name: replace(each, secret=None) for name, each in self.items()})

    def shown(self) -> dict[str, str | None]:
        """The credential of each role that every collection has; None where it is sealed."""
        return {role: self[role].secret for role in ROLES}

    def adding(self, fresh: Credential) -> Credentials:
        """
        With one more.

        Raises:
            InvalidRequest: The name is none, or taken.
        """
        with at("name"):
            if not _NAME.fullmatch(fresh.name):
                raise InvalidRequest(
                    "the name of a credential has 1 to 64 letters, digits, '_' and '-', "
                    f"and {preview(fresh.name)} does not"
                )
            if fresh.name in self:
                raise InvalidRequest(f"there is a credential {fresh.name!r} already; rotate it, or take another name")
        return Credentials({**self._lasting(), fresh.name: fresh})

    def rotating(self, name: str, fresh: str, *, grace: float = 0) -> Credentials:
        """
        With a fresh secret in place of that of a name.

        Args:
            grace: For so many seconds the old one works beside it, as ``<name>.1``; with 0 it stops at once, and with
                it what is left of earlier rotations.

        Raises:
            InvalidRequest: There is nothing to rotate: it has expired, or is itself what is left of a rotation.
        """
        old = self[name]
        created = now()
        if "." in name:
            raise InvalidRequest(f"{name} was rotated, and stops by itself; revoke it to stop it now", pointer=None)
        if old.expires <= created.timestamp():
            raise InvalidRequest(f"{name} has expired: revoke it, and add another", pointer=None)
        kept = self._lasting()
        if grace:
            free = next(free for n in range(1, len(kept) + 2) if (free := f"{name}.{n}") not in kept)
            kept[free] = replace(old, name=free, expires=min(old.expires, created.timestamp() + grace))
        else:
            kept = {each: credential for each, credential in kept.items() if not _was(each, name)}
        renewed = Credential.of(name, old.role, fresh, created=created.isoformat(), expires=old.expires)
        return Credentials({**kept, name: renewed})

    def without(self, name: str) -> Credentials:
        """Without the one of a name."""
        return Credentials({each: credential for each, credential in self._lasting().items() if each != name})

    def _lasting(self) -> dict[str, Credential]:
        """All but what is left of earlier rotations, and has expired."""
        moment = now().timestamp()
        return {name: each for name, each in self.items() if "." not in name or moment < each.expires}


def _role(name: str) -> Role:
    return "read" if name == "read" else "write"


def _was(name: str, rotated: str) -> bool:
    """Whether this is the name under which an old secret of ``rotated`` goes on for a while."""
    return name.rpartition(".")[0] == rotated


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def expiry(moment: str | None) -> float:
    """
    When a credential that is to expire then stops, in seconds since 1970; infinite where it shall not.

    Args:
        moment: ISO 8601, with an offset from UTC.

    Raises:
        InvalidRequest: It is no such moment, or has passed.
    """
    if moment is None:
        return math.inf
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise InvalidRequest(f"expires is a moment such as 2030-01-31T12:00:00Z, not {preview(moment)}")
    if parsed <= now():
        raise InvalidRequest(f"expires is a moment to come, and {preview(moment)} has passed")
    return parsed.timestamp()
