"""The examples of docs/operations: read by the programs that they are for, and true of the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from connectome import config
from connectome.cli import EXIT_CODES
from connectome.config import Settings
from connectome.errors import ConfigurationError, StoreLocked
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLES = DOCS / "operations"
CANARY = "cr_canary"
# What a request line may hold, and what of it may be written.
REQUESTS = {
    f"/collection/read/{CANARY}/movies": "/collection/read/…/movies",
    f"/collection/batchdelete/{CANARY}/movies?dry_run=true": "/collection/batchdelete/…/movies",
    "/-/admin/collections/movies": "/-/admin/collections/movies",
    "/collections/movies": "/collections/movies",
}
ODD = [
    f"/collection/read/{CANARY}",
    f"/collection/read/{CANARY}/",
    f"//collection/read/{CANARY}/movies",
    f"/collection/read/movies?credential={CANARY}",
    f"/login?token={CANARY}",
    f"/-/health?{CANARY}",
]


def text(name):
    return (EXAMPLES / name).read_text(encoding="utf-8")


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def run(*command):
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The names of the metrics of a server that has a collection and was asked for something."""
    directory = tmp_path_factory.mktemp("data")
    service = Service(open_store(directory))
    service.create(id="movies")
    client = create_app(Settings(data=directory, admin_token="token"), service).test_client()
    client.get("/-/health", buffered=True)
    found = client.get("/-/metrics", headers={"Authorization": "Bearer token"}, buffered=True).text
    service.close()
    return set(re.findall(r"^(connectome_\w+?)(?:_bucket|_sum|_count)?[{ ]", found, re.MULTILINE))


class TestMetrics:
    def test_each_is_described(self, measured):
        """The table of the page has the metrics that there are, and no others."""
        described = re.findall(r"^\| `(connectome_\w+)` \|", (DOCS / "operations.md").read_text(), re.MULTILINE)

        assert set(described) == measured

    def test_alerts_ask_for_metrics_that_there_are(self, measured):
        """A rule about a metric that nobody has would never fire, and nobody would know."""
        asked = set(re.findall(r"connectome_[a-z_]+", text("alerts.yml")))

        assert {re.sub("_bucket$", "", name) for name in asked} <= measured

    @needs("promtool")
    def test_prometheus_reads_the_alerts(self):
        """Every expression compiles."""
        assert run("promtool", "check", "rules", EXAMPLES / "alerts.yml").returncode == 0


def written_by_nginx(request_uri):
    """What its map makes of a request line, by the first pattern that fits."""
    block = re.search(r"^map \$request_uri \$scrubbed \{\n(.*?)^\}", text("nginx.conf"), re.MULTILINE | re.DOTALL)[1]
    for pattern, form in re.findall(r'^\s+"~(.*)"\s+"(.*)";$', block, re.MULTILINE):
        if found := re.search(pattern.replace("(?<", "(?P<"), request_uri):
            return re.sub(r"\$(\w+)", lambda name: found[name[1]], form)
    return re.search('default +"(.*)";', block)[1]


class TestNginx:
    @pytest.mark.parametrize(("request_uri", "written"), REQUESTS.items())
    def test_a_route_is_written_without_its_credential(self, request_uri, written):
        """And without what stands behind the question mark."""
        assert written_by_nginx(request_uri) == written

    @pytest.mark.parametrize("request_uri", ODD)
    def test_no_credential_is_written(self, request_uri):
        """Wherever in a request line it stands."""
        assert CANARY not in written_by_nginx(request_uri)

    @needs("nginx")
    @needs("openssl")
    def test_nginx_reads_it(self, tmp_path):
        """With a certificate of its own."""
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        made = run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=data.example.com", "-keyout", key, "-out", certificate),
        )
        assert made.returncode == 0, made.stderr
        site = text("nginx.conf").replace("/var/log/nginx", str(tmp_path))
        site = re.sub(r"/etc/\S+/fullchain.pem", str(certificate), re.sub(r"/etc/\S+/privkey.pem", str(key), site))
        (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; events {{}} http {{ {site} }}", encoding="utf-8")

        ended = run("nginx", "-t", "-e", tmp_path / "errors", "-c", tmp_path / "nginx.conf")

        assert ended.returncode == 0, ended.stderr


class TestCaddy:
    @pytest.mark.parametrize("request_uri", [*REQUESTS, *ODD])
    def test_no_credential_is_written(self, request_uri):
        """Of the address that Caddy's logs hold."""
        ((pattern, written),) = re.findall(r'request>uri regexp "(.*)" "(.*)"', text("Caddyfile"))
        scrubbed = re.sub(pattern, lambda found: (found[1] or "") + written.removeprefix("${1}"), request_uri)

        assert CANARY not in scrubbed

    @needs("caddy")
    def test_caddy_reads_it(self, tmp_path, monkeypatch):
        """As a whole."""
        monkeypatch.setenv("HOME", str(tmp_path))
        config = tmp_path / "Caddyfile"
        config.write_text(text("Caddyfile").replace("/var/log/caddy", str(tmp_path)), encoding="utf-8")

        ended = run("caddy", "validate", "--config", config, "--adapter", "caddyfile")

        assert ended.returncode == 0, ended.stderr


class TestUnit:
    @needs("systemd-analyze")
    def test_systemd_reads_it(self, tmp_path):
        """Without a word."""
        unit = tmp_path / "connectome.service"
        unit.write_text(text("connectome.service").replace("/opt/connectome/bin/connectome", shutil.which("true")))

        ended = run("systemd-analyze", "verify", unit)

        assert (ended.returncode, ended.stderr) == (0, "")

    def test_what_no_restart_cures_is_not_restarted(self):
        """The exit codes that it names are those of a wrong setting and of a directory that is in use."""
        (codes,) = re.findall("^RestartPreventExitStatus=(.*)$", text("connectome.service"), re.MULTILINE)

        assert codes.split() == [str(EXIT_CODES[ConfigurationError]), str(EXIT_CODES[StoreLocked])]


class TestContainerfile:
    def test_what_it_copies_is_there(self):
        """And all that setup.cfg names: the package would not be built without."""
        lines = re.findall("^COPY (.*) /source", text("Containerfile"), re.MULTILINE)
        copied = {name for line in lines for name in line.split()}

        assert {name for name in copied if not (DOCS.parent / name).exists()} == set()
        assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "connectome"} == copied

    def test_it_sets_what_is_a_setting(self):
        """Each variable, in it and in the unit."""
        named = set(re.findall("CONNECTOME_[A-Z_]+", text("Containerfile") + text("connectome.service")))

        assert named <= {config.variable(name) for name, _ in config.described()}
