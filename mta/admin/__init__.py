"""The admin address: where the HTTP side is joined to a relay, in one process or in several.

beside      makes all of it for a relay
pages       the console
tail        lines that several processes write into one file
service     listens, and builds what answers
running     a relay in this process, as the HTTP side asks about it
supervised  several, by what they write into memory that they share
"""
