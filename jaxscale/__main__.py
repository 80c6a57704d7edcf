"""``python -m jaxscale`` is the command ``jaxscale``."""

from jaxscale.cli.app import main

main()
