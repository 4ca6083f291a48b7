"""Keeping: the queue. It is on the disk; memory holds only what is in flight. What survives a crash, or a power cut:

    at this moment                          is on stable storage           after the restart
    --------------------------------------  -----------------------------  -------------------------------------------
    content is coming in                    nothing, or a content file     the client has had no 250 and tries again;
                                            that no row names              the file is swept away
    `commit` is asked for, not fired        nothing, or all of it          no 250 yet: the client tries again, and if
                                                                           it was all there, this is the extra copy
    `commit` has fired, 250                 message, deliveries, timeline  eager deliveries count as being tried
    waiting, or held                        the same                       the same, due when it was due; held
    being tried                             "active", with its fence       due now, "last result unknown" in the
                                                                           timeline; counted, and perhaps a second
                                                                           copy (RFC 1047)
    tried, `record` not fired               "active", or all of the        as above, or as below; never a notice
                                            record                         without its cause or a cause without notice
    `record` has fired                      what waits, notices, pause,    the same
                                            timeline, or the end
    ended, its content file still there     the timeline                   the file is swept away
    an operator's verb has returned         what it changed, or the wish   the same; a wish is granted at once, since
                                            on what is being tried         the try has ended
    clean stop                              claims are put back            nothing is unknown
    a webhook has taken an event            it is not owed any more, or    in the latter case it is told
                                            still is                       twice
    moved from a file that is left over     in the old file, in both, or   it is in one of them, as it was
                                            in the new one

Where to read on: `sqlite` translates `ISpool` into operations, `reception` gathers a message, `writer` and `batches`
make commits of operations, `store` is a queue file, `copier` has its log copied (`copying`), `keeping claims settling
rushing hastening` are what workers do to it, `desk` is the operator's side with `verbs listing survey history ledger
matching`, at a `pace` that lets others commit, `wishes` what an operator asks for during a try, `content` keeps octets
and `spill` writes the large ones, `duplicate` copies mail for trying things out, `adoption` moves what workers have
left that there are no more, `database` opens, checks and upgrades files, `folder` says where they are, `custody` that
nobody else can change them, `disk` is what is asked of a file system, `drop` is where users leave mail while nobody is
there to take it, `owing` writes what webhooks are to be told and `outbox` hands it to who tells them, `memory` is the
twin with `memory_rows` and `memory_outbox`.
"""
