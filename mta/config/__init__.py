"""Configuration: one YAML file, read once, checked whole, and turned into the values that policy decides by.

`model` holds every key, its default and its meaning; `units` what people write for times, sizes and addresses;
`document` reads YAML and remembers lines; `load` puts them together; `problems` says what is wrong, `dangers` what
is unwise. Only the composition root and the command line read configuration; everything else is given values.
"""
