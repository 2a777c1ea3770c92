"""``python -m connectome`` is the ``connectome`` command."""

from connectome.cli import main

main(prog_name="connectome")
