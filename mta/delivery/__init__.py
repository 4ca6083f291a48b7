"""What happens next: from a delivery that is due to its end, or to its next try.

**How a message leaves.** Reception asks the manager for a place before it stores a message (`reserve`). Where there is
one, the delivery is claimed in the write that stores it, and handed over in memory (`deliver`). Where all places of its
destination are taken, a few more are claimed so and wait in memory (`aside`), so that a burst need not be read back;
behind them, and behind all that waits there already, it waits in the spool: the spool is the queue, and memory holds
what is in flight. A look into the spool (`lookout`) finds the destinations that have something due; a few deliveries of
each are claimed; the line of destinations (`turns`) gives each a place in its turn. Then one claim is an `Attempt`: its
recipients are routed by the configuration in force, a transport carries it, `policy.settlement` says what becomes of
each recipient, the `notifier` writes the notices that are owed, and all of it is one `Record`, which the spool stores
in one write.

**When the other side is down.** What fails is a recipient, a try, or a destination. A recipient that is put off waits
by `policy.retry`, and its sender is warned once. A destination that nobody reaches is left in peace as a whole: its
window closes, and a pause is stored with it. During the pause nothing is claimed for it, and new mail is stored
without a try. After the pause one delivery goes ahead as a probe; if it fails, the next pause is longer. So a dead
host sees the same few tries whether one message waits for it or a hundred thousand. `Deadlines` brings up what cannot
wait for the end of a pause: a warning that is owed is sent without a try; a message that has reached its end gets its
last try in spite of the pause, unless the destination failed within the last minute, which then counts as the try of
all messages that end with it. An operator's retry ends a pause within a second.

**When the fault is ours.** A next hop that refuses our login would refuse every message. What is tried then is held,
not bounced, with an alarm in the log; the destination is paused as if it were down, so that a login is not refused
once for each message; and what waits behind the pause is warned of as usual, and held at its end.

**What senders may ask for.** A notice of success, where nobody further on will send it (`policy.settlement`); of an
alias or a list that was expanded, which is a delivery to a destination of its own that is settled without a transport
(`policy.expansion`); and delivery by a certain time, after which nothing is tried (`policy.retry`).

**What is lost on restart.** Nothing. Each claim that was in flight is still in the spool, and is due again. A message
whose final reply was on its way, or whose result was not stored yet, can arrive twice, and its timeline says so.
Windows begin anew; pauses are in the spool. After a long downtime everything gets one try before it is bounced for its
age, and before anybody is warned.

| Module | |
|---|---|
| `manager` | puts the parts together; what the rest of the house calls |
| `destination` | what memory holds of one destination |
| `turns` | places, and the line for them |
| `aside` | content that is at hand of what waits for a place |
| `lookout`, `deadlines` | what is due; what must be looked at although it cannot be tried |
| `clockwatch` | what waits for a time that was said by a clock that has been set back |
| `attempt`, `rerouting` | one claim on its way through |
| `records`, `notifier`, `story` | what is stored of it: who waits, notices, timeline and log |
| `claiming` | takes claims out of the spool, a few ahead, and puts them back |
| `recorder`, `history` | results into the spool, old timelines out of it |
| `starts` | queues that clients ask to have started |
| `alarm`, `trouble` | a timer for the earliest of several times; what the log is told when the spool fails |
"""
