"""Configuration: one YAML file, read once, checked whole, and turned into the values that policy decides by.

Only the composition root and the command line read configuration; everything else is given values.

| Module | |
|---|---|
| `model`, `rules`, `units` | every key, its default and its meaning; what values must be; times, sizes and addresses |
| `document`, `reading`, `load` | YAML, with its lines; files; the configuration, with those that it names |
| `sources` | the texts that it was made from |
| `fitting` | what does not fit together, though each value is right |
| `problems` | what is wrong, in sentences |
| `dangers`, `directory_dangers` | what is unwise |
| `directory`, `accounts`, `accounts_text` | the files of local names and of logins; an account written into its file |
"""

import os

# Pydantic would look through all that is installed for plugins of its own: nothing of them has a say in what a
# configuration means, and the look is a good part of what a command takes to start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
