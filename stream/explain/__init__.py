"""Why a score is what it is: contributions, changes since a moment, forecast, distribution, text."""
