"""What other programs read to call the API: the OpenAPI document, and files of requests."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from connectome.cli.administration import administration, data_option, one_of
from connectome.config import Settings


@click.command()
@click.option("--url", help="Where the server is reached.  [default: by the settings of host and port]")
def openapi(url: str | None) -> None:
    """Print the OpenAPI document of the API, for which no server need run."""
    from connectome.service import Service
    from connectome.stores import open_store
    from connectome.web import create_app
    from connectome.web import openapi as described

    settings = Settings.from_environ()
    with tempfile.TemporaryDirectory() as directory:
        service = Service(open_store(Path(directory), durability="memory"))
        try:
            app = create_app(settings, service)
            base = url or settings.public_url or f"http://{settings.host}:{settings.port}"
            document = described.document(app.url_map, app.view_functions, settings, url=base)
        finally:
            service.close()
    click.echo(described.encoded(document), nl=False)


@click.command()
@click.argument("id", metavar="COLLECTION")
@click.option("--format", "kind", default="http", help="The format: http or postman.  [default: http]")
@data_option
def requests(id: str, kind: str, data: Path | None) -> None:
    """Print a file of requests to a COLLECTION, its credentials included, for an editor or Postman."""
    from connectome.service import Service
    from connectome.web import clients, examples

    format = clients.FORMATS[one_of("--format", kind, clients.FORMATS)]
    with administration(data) as service:
        described = service.describe(id)
        documents = service.first_documents(id, examples.SAMPLE)
        settings = Settings.from_environ(data=data)
        here = settings.public_url or f"http://{settings.host}:{settings.port}"
        base = here if isinstance(service, Service) else settings.public_url or service.url
    click.echo(format.write(base, described, documents), nl=False)
