"""`vitals backtest`: measure how well a policy would have predicted churn, from past events and known outcomes.

`outcomes`, `replay` and `inputs` turn files into arrays, `figures` and `episodes` turn arrays into figures, `study`
makes the sections of a `report`, `tables` and `page` show it. `fit`, `rewrite` and `fitted_policy` find weights and
write the policy with them. `run` puts it together; `command` reads the options and prints.
"""
