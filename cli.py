"""SaliencyMix+ from the command line: ``python cli.py --help``."""

import sys
from pathlib import Path

# The sources beside this file come first: DVC runs queued experiments in copies of the
# repository, and each must run its own code, not what the environment has installed.
sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from saliencymixplus.commands.app import main

if __name__ == "__main__":
    main()
