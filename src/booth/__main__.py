"""`python -m booth` is the command line."""

from booth.cli.app import main

if __name__ == "__main__":
    main()
