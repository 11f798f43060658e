"""The typer commands: parse, call, print. What they do lives in the packages below."""
