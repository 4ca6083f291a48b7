"""Configuration: one YAML file, read once, checked whole, and turned into the values that policy decides by.

`model` holds every key, its default and its meaning; `rules` what values must be beyond their type; `units` what people
write for times, sizes and addresses; `document` reads YAML and remembers lines, `reading` files; `load` puts them
together; `problems` says what is wrong, `dangers` and `local_dangers` what is unwise. The files it names: `directory`
(local names), `accounts` (with `accounts_text`, which changes it); `logging_in` says whether what logins need fits
together. Only the composition root and the command line read configuration; everything else is given values.
"""
