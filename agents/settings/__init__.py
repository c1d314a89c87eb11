"""Settings: the environment and the settings file are read here and nowhere else."""
