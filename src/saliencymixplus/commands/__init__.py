"""The typer commands: parse, call, print. The work is done in the packages below."""
