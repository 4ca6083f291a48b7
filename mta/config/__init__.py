"""Configuration: one YAML file, read once, checked whole, and turned into the values that policy decides by.

Only the composition root and the command line read configuration; everything else is given values.

| Module | |
|---|---|
| `model`, `rules`, `units` | every key, its default and its meaning; what values must be; times, sizes and addresses |
| `document`, `reading`, `load` | YAML, with its lines; files; the configuration, with those that it names |
| `problems` | what is wrong, in sentences |
| `dangers`, `directory_dangers` | what is unwise |
| `directory`, `accounts`, `accounts_text` | the files of local names and of logins; an account written into its file |
"""
