"""``python -m blockskim`` is the command line."""

from blockskim.cli.main import main

if __name__ == "__main__":
    main()
