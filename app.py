"""The WSGI application, for any WSGI server (``gunicorn --threads 8 app:app``); ``python app.py`` serves it."""

import sys

from connectome.config import Settings
from connectome.errors import ConnectomeError
from connectome.web import create_app

if __name__ == "__main__":
    from connectome.cli import main

    main(["serve"])
else:
    try:
        app = create_app(Settings.from_environ())
    except ConnectomeError as error:
        print(f"connectome: {error.detail}", file=sys.stderr)
        # To gunicorn this status says that no other worker would fare better: it stops instead of trying for ever.
        sys.exit(3)
