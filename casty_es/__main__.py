"""``python -m casty_es``: the command line, without its being on the path."""

from __future__ import annotations

from casty_es.cli import main

if __name__ == "__main__":
    main()
