"""``python -m ttame`` is the ``ttame`` command; launchers of several processes need a module."""

from ttame.cli.main import main

if __name__ == "__main__":
    main()
