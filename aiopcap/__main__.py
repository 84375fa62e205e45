"""`python -m aiopcap` is the `aiopcap` command."""

from aiopcap.cli import main

if __name__ == "__main__":
    main()
