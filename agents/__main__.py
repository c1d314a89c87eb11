"""`python -m agents` runs the command `vitals`."""

from agents.cli.main import app

if __name__ == "__main__":
    app(prog_name="vitals")
