"""Code for clients."""

from __future__ import annotations

from pathlib import Path

import click

from connectome.cli.administration import administration, data_option, one_of
from connectome.config import Settings
from connectome.errors import ConfigurationError


@click.command()
@click.argument("id", metavar="COLLECTION")
@click.argument("operation")
@click.option("--lang", default="curl", help="The language; 'list' says which there are.  [default: curl]")
@click.option("--body", metavar="JSON", help="What to send; made from the collection's documents where not given.")
@click.option("--auth", default="url", help="Where the credential goes: url or header.  [default: url]")
@data_option
def snippet(id: str, operation: str, lang: str, body: str | None, auth: str, data: Path | None) -> None:
    """Print code that calls a COLLECTION.  An OPERATION is readwithquery, write and so on."""
    from connectome.service import Service
    from connectome.web import examples, snippets
    from connectome.web.api import OPERATIONS

    if lang == "list":
        width = max(map(len, snippets.LANGUAGES))
        for name, spoken in snippets.LANGUAGES.items():
            click.echo(f"{name:{width}}  {spoken.family}, {spoken.title}")
        return
    called = OPERATIONS[one_of("the operation", operation, OPERATIONS)]
    language = one_of("--lang", lang, snippets.LANGUAGES)
    place = one_of("--auth", auth, snippets.AUTHS)
    if body is not None and called.body is None:
        raise ConfigurationError(f"{operation} takes no body, and --body gives one")
    with administration(data) as service:
        described = service.describe(id)
        if body is None:
            documents = service.first_documents(id, examples.SAMPLE)
            sent = examples.body(operation, documents, described["schema"])
        else:
            sent = snippets.typed(body)
        settings = Settings.from_environ(data=data)
        here = settings.public_url or f"http://{settings.host}:{settings.port}"
        base = here if isinstance(service, Service) else settings.public_url or service.url
    credential = described["credentials"][called.role]
    if credential is None:
        click.echo(f"the {called.role} credential is not known any more; rotate it to get a new one", err=True)
        credential = f"{called.role.upper()}_CREDENTIAL"
    request = snippets.to_operation(base, id, called.method, operation, credential, auth=place, body=sent)
    click.echo(snippets.render(language, request), nl=False)
