"""``python -m chistream`` is ``chistream``."""

from chistream.cli import main

if __name__ == "__main__":
    main()
