"""
The web console: pages for people, rendered here, under a policy that lets a page load nothing from elsewhere.

A page is a function of a module below, on the module's blueprint; ``PAGES`` names the modules.  No script of a page
gets at anything that the page's forms do not.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Flask
from werkzeug.exceptions import NotFound

from connectome.web.console import access, activity, collections, documents, integration, schema, settings, site
from connectome.web.console.access import login_path as login_path
from connectome.web.console.sessions import Sessions

# A new page's module is added here.
PAGES: Final = (
    access,
    activity,
    collections,
    documents,
    integration,
    schema,
    settings,
)


def register(app: Flask) -> None:
    """Add the console to an application that has its service."""
    app.extensions["connectome.sessions"] = Sessions()
    console = Blueprint(
        "console", __name__, template_folder="templates", static_folder="static", static_url_path="/-/console"
    )
    console.before_request(access.guard)
    console.after_request(access.secure)
    console.register_error_handler(Exception, site.failed)
    for module in PAGES:
        console.register_blueprint(module.blueprint)
    app.register_blueprint(console)
    app.register_error_handler(NotFound, access.not_found)
    app.jinja_env.filters.update(size=site.size, number=site.number)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
