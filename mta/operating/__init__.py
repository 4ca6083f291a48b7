"""The operator's view: what is in the queue, what has become of a message, what would happen to one, and why.

Values and words, made from a configuration and a desk (`mta.spool.desk`); the `mta` command prints them, the console
and the HTTP API answer with them, so that all three say the same.

    words      how times, sizes and numbers are put
    listing    the queue and a message as programs know them
    story      the timeline of a message, told
    facts      a message at a glance
    hooks      webhooks as programs know them
    asking     which mail is asked about
    explain    what would become of it, and why
    explained  that, in words and as JSON
    explaining it for who waits, in a command or in a thread
    forecast   what is going to happen to mail, and what a new configuration would do to it
    rehearsal  the clock of a copied queue, run forward
    audit      what has become of every recipient, and whether the sums match
    failures   why mail failed, by class
    watching   what has changed between two looks at the queue
    overview   the queue from afar, page by page, and one destination
    advising   what the console asks as the command does
    console    what the pages in the browser show
    bouncing   the notices of mail that is returned
    doctor     whether this relay is ready for the world
"""
