"""The installed command ``saliencymixplus``, which reports missing dependencies."""

import sys


def main() -> None:
    """Run the command line, if its dependencies are installed."""
    try:
        from saliencymixplus.commands.app import main as run
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: the command line needs {error.name}, which the mixers alone do not: "
            "pip install 'saliencymixplus[train]'"
        )
    run()


if __name__ == "__main__":
    main()
