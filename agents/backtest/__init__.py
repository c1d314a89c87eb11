"""`vitals backtest`: how well would a policy have told churn ahead, on events and outcomes that are known by now.

`outcomes` and `replay` turn files into arrays, `figures` and `episodes` turn arrays into figures, `study` puts a
`report` together, `tables` and `page` show it, `fit` finds weights. `run` is the command.
"""
