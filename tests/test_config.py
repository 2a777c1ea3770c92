"""Settings: where each comes from, what wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectome import config
from connectome.config import Settings
from connectome.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path):
    """Write the file of settings of a data directory."""

    def write(text: str, name: str = "connectome.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def of(data: Path, environ: dict[str, str] | None = None, **arguments) -> Settings:
    return Settings.from_environ(environ or {}, data=data, **arguments)


class TestPrecedence:
    def test_a_file_wins_over_defaults_a_variable_over_it_an_argument_over_both(self, tmp_path, file):
        """And each setting knows where it comes from."""
        file('port = 1\nthreads = 2\nhost = "::1"\n')

        settings = of(tmp_path, {"CONNECTOME_PORT": "3", "CONNECTOME_THREADS": "4"}, port=5)

        names = ("port", "threads", "host", "server")
        assert [getattr(settings, name) for name in names] == [5, 4, "::1", "auto"]
        assert [settings.origin(name) for name in names] == ["argument", "environment", "file", "default"]

    @pytest.mark.parametrize(
        ("environ", "port"),
        [({"PORT": "81"}, 81), ({"PORT": "81", "CONNECTOME_PORT": "82"}, 82), ({}, 80)],
        ids=["alone", "below ours", "over the file"],
    )
    def test_the_port_of_a_platform_counts(self, tmp_path, file, environ, port):
        """More than the file, less than our own variable."""
        file("port = 80")

        assert of(tmp_path, environ).port == port

    def test_an_argument_that_is_none_says_nothing(self, tmp_path):
        """As options that are not given are handed on."""
        assert of(tmp_path, {"CONNECTOME_CONSOLE": "no"}, console=None).console is False


class TestTheFile:
    def test_another_one_may_be_named(self, tmp_path, file):
        """By an argument, or by a variable, which counts less; the data directory's own is not read then."""
        file("port = 1")
        other, third = file("port = 2", "other.toml"), file("port = 3", "third.toml")

        assert of(tmp_path, {"CONNECTOME_CONFIG": str(other)}).port == 2
        assert of(tmp_path, {"CONNECTOME_CONFIG": str(other)}, config=third).port == 3

    def test_a_path_in_it_is_seen_from_there(self, tmp_path, file):
        """Wherever the command is given."""
        settings = Settings.from_environ({}, config=file('data = "sub/data"'))

        assert settings.data == tmp_path / "sub/data"

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("prot = 1", "prot is no setting; did you mean port?"),
            ("read-only = true", "read-only is no setting; did you mean read_only?"),
            ("port = '80'", "port needs a whole number, not '80'"),
            ("port = true", "port needs a whole number, not True"),
            ("read_only = 1", "read_only needs true or false, not 1"),
            ("host = 1", "host needs a string, not 1"),
            ("admin_token = 1234", "admin_token needs a string$"),
            ("host = ['a']", r"host needs a string, not \['a'\]"),
            ("[serve]\nport = 1", "serve is no setting; did you mean server?"),
            ("port =\nhost = 1", "is not TOML: .*line 1"),
            ("data = 'x'", "data is where this file is"),
        ],
    )
    def test_what_cannot_be_is_refused(self, tmp_path, file, text, says):
        """With the file, and what was meant."""
        path = file(text)

        with pytest.raises(ConfigurationError, match=says) as refused:
            of(tmp_path)

        assert str(path) in refused.value.detail

    def test_one_that_is_named_has_to_be_there(self, tmp_path):
        """The data directory's own need not."""
        with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
            of(tmp_path, config=tmp_path / "none.toml")

    def test_several_values_may_be_an_array(self, tmp_path, file, monkeypatch):
        """Of a setting that has its values with commas between."""
        field = Settings.__dataclass_fields__["host"]
        monkeypatch.setattr(field, "metadata", {**field.metadata, "listed": True})
        file('host = ["a", "b"]')

        assert of(tmp_path).host == "a,b"


class TestVariables:
    @pytest.mark.parametrize(
        ("text", "value"), [("true", True), ("ON", True), ("1", True), ("false", False), ("0", False)]
    )
    def test_a_boolean_is_spelt_in_several_ways(self, tmp_path, text, value):
        """As people do."""
        assert of(tmp_path, {"CONNECTOME_READ_ONLY": text}).read_only is value

    @pytest.mark.parametrize(
        ("environ", "says"),
        [
            ({"CONNECTOME_READ_ONLY": "maybe"}, "CONNECTOME_READ_ONLY needs true or false, not 'maybe'"),
            ({"PORT": "http"}, "PORT needs a whole number, not 'http'"),
            ({"CONNECTOME_ADMIN_TOKEN_FIEL": "x"}, "did you mean CONNECTOME_ADMIN_TOKEN_FILE[?]"),
            ({"CONNECTOME_HOST_FILE": "x"}, "CONNECTOME_HOST_FILE is no setting"),
            ({"CONNECTOME_PUBLIC_URL": "data.example.org"}, "public_url is http://… or https://…"),
            ({"CONNECTOME_WORKERS": "2"}, "workers is 1, not 2, with the embedded store"),
        ],
    )
    def test_what_cannot_be_is_refused(self, tmp_path, environ, says):
        """With what was expected."""
        with pytest.raises(ConfigurationError, match=says):
            of(tmp_path, environ)

    def test_a_secret_may_come_from_a_file(self, tmp_path):
        """As those who run containers hand secrets over; the newline at its end is none of it."""
        (tmp_path / "token").write_text("of-a-file\n")

        settings = of(tmp_path, {"CONNECTOME_ADMIN_TOKEN_FILE": str(tmp_path / "token")})

        assert (settings.admin_token, settings.origin("admin_token")) == ("of-a-file", "environment")

    @pytest.mark.parametrize(
        ("content", "more", "says"),
        [
            (None, {}, "cannot be read: No such file"),
            ("\n", {}, "is empty"),
            ("a", {"CONNECTOME_ADMIN_TOKEN": "b"}, "are both set"),
        ],
        ids=["no file", "empty", "twice"],
    )
    def test_a_secret_that_is_not_there_is_refused(self, tmp_path, content, more, says):
        """A server without the token that was meant for it would make one of its own."""
        if content is not None:
            (tmp_path / "token").write_text(content)

        with pytest.raises(ConfigurationError, match=says):
            of(tmp_path, {"CONNECTOME_ADMIN_TOKEN_FILE": str(tmp_path / "token"), **more})


class TestShowing:
    @pytest.mark.parametrize(("secret", "masked"), [("cr_" + "x" * 28 + "Ab12", "cr_…Ab12"), ("short", "…"), ("", "")])
    def test_a_secret_is_masked(self, secret, masked):
        """Enough to tell it from others; of a short one, nothing."""
        assert config.masked(secret) == masked

    def test_the_password_in_a_url_is_masked(self, monkeypatch):
        """The rest says which store it is."""
        field = Settings.__dataclass_fields__["public_url"]
        monkeypatch.setattr(field, "metadata", {**field.metadata, "secret": "url"})

        assert config.shown("public_url", "mongodb://me:p%40ss@host/db") == "mongodb://me:…@host/db"
        assert config.shown("public_url", "mongodb://host/db") == "mongodb://host/db"

    def test_a_public_url_has_no_slash_at_its_end(self):
        """Paths are put behind it."""
        assert Settings(public_url="https://data.example.org/api/").public_url == "https://data.example.org/api"
