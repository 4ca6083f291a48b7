"""The console: the pages that an operator opens in a browser. They need no JavaScript but for what moves by itself.

seams      what the pages count on, beside the HTTP side's own
table      all routes of the console
showing    what all pages have in common
pages      the pages that are looked at: the queue, a message, a destination, the log, the configuration
advising   the pages of who is asked: explain, doctor, audit
errands    what takes longer than a page may
deeds      what forms do to mail, and what is asked first
live       events for pages that are open
watch      the last lines of the log
rates      how many came to what in each minute of the last hour
filters    what of the queue is meant, and the addresses of its pages
rendering  the templates; everything that is shown is escaped and made visible here
shapes     what the small charts are made of
files      style, scripts, and what they stand on
"""
