"""The WSGI application, for any WSGI server (``gunicorn --threads 8 app:app``); ``python app.py`` serves it."""

from connectome.config import Settings
from connectome.web import create_app

if __name__ == "__main__":
    from connectome.cli import main

    main(["serve"])
else:
    app = create_app(Settings.from_environ())
