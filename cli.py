"""SaliencyMix+ from the command line: ``python cli.py --help``."""

from saliencymixplus.commands.app import main

if __name__ == "__main__":
    main()
