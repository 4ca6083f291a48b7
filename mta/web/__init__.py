"""The HTTP side: the metrics, the health of the relay, the HTTP API, and the pages that a person logs in to.

What there is to be known and done it is given as objects (`seams`): the operator, whose calls may take their time and
run in threads, and the running relay, which is asked in the reactor's own.

    seams        what it counts on
    exchange     a call, and its answer
    routes       the table of what answers what
    application  from a call to an answer: who may ask, who answers, what is said where it goes wrong
    access       the token, sessions in the browser, and what slows guessing
    hosts        the names that we are called by
    login        the page to log in with, and plain pages
    health       is it alive, is it ready
    site         over twisted.web: octets in, octets out, all of it bounded
"""
