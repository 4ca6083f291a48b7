-- The first schema of a queue file. Times are seconds since 1970, sizes octets.

-- A message with something left to do. Its rows are never updated, since that would write the body again.
CREATE TABLE message (
    id       INTEGER PRIMARY KEY,  -- the queue id as a number: microseconds * 256 + worker, never used twice
    received REAL    NOT NULL,
    size     INTEGER NOT NULL,
    file     INTEGER NOT NULL,     -- 1: the content is in a file of content/, 0: it is in body
    envelope TEXT    NOT NULL,     -- JSON, without the recipients
    events   TEXT    NOT NULL,     -- how its timeline begins, lines of JSON
    body     BLOB                  -- last, so that the rest can be read without it
) STRICT;

-- Recipients of a message who wait together, or are being tried together.
CREATE TABLE delivery (
    id          INTEGER PRIMARY KEY,  -- made like a queue id, never used twice
    message     INTEGER NOT NULL,
    destination TEXT    NOT NULL,
    state       TEXT    NOT NULL,     -- 'waiting', 'active' (being tried), 'held'
    priority    INTEGER NOT NULL,     -- higher ones first; 0 is the ordinary one
    due         REAL    NOT NULL,     -- when to try
    deadline    REAL    NOT NULL,     -- when to look at it even though its destination is paused
    attempts    INTEGER NOT NULL,     -- tries that have ended
    fence       INTEGER NOT NULL,     -- times it has been claimed
    warned      INTEGER NOT NULL,     -- 1: the delay notice has been sent
    wish        TEXT    NOT NULL,     -- what an operator asked for during a try: a verb, or JSON {address: verb}
    last_reply  TEXT    NOT NULL,
    sender      TEXT    NOT NULL,     -- the reverse-path, here so that listings need not read messages
    recipients  TEXT    NOT NULL      -- JSON
) STRICT;
CREATE INDEX delivery_message ON delivery (message);
CREATE INDEX delivery_waiting ON delivery (destination, priority DESC, due) WHERE state = 'waiting';
CREATE INDEX delivery_deadline ON delivery (deadline) WHERE state = 'waiting';
CREATE INDEX delivery_active ON delivery (state) WHERE state = 'active';

-- A destination that something waits for, or that is paused, or that failed when it was last tried.
CREATE TABLE destination (
    name         TEXT    PRIMARY KEY,
    next_due     REAL,                -- the later of its earliest due delivery and paused_until; NULL: nothing waits
    paused_until REAL    NOT NULL,
    failures     INTEGER NOT NULL,    -- in a row
    last_reply   TEXT    NOT NULL     -- holds for what waits here and has had no reply of its own
) STRICT, WITHOUT ROWID;
CREATE INDEX destination_next ON destination (next_due, paused_until);

-- A message that has gone, and how it began; where `event` has more of it, that comes after.
CREATE TABLE timeline (
    message  INTEGER PRIMARY KEY,
    received REAL NOT NULL,
    ended    REAL NOT NULL,
    sender   TEXT NOT NULL,
    result   TEXT NOT NULL,           -- how its recipients ended: some of "delivered failed discarded expanded dropped"
    events   TEXT NOT NULL
) STRICT;
CREATE INDEX timeline_ended ON timeline (ended);

-- What happened to a message between its beginning and its end, in order of id: rows, since a text that grows would
-- be written anew with every try.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    ends    TEXT    NOT NULL,         -- how recipients ended in these events, in the words of timeline.result
    events  TEXT    NOT NULL
) STRICT;
CREATE INDEX event_message ON event (message);

-- Always one row. waiting, active, held: recipients.
CREATE TABLE totals (
    messages INTEGER NOT NULL,
    octets   INTEGER NOT NULL,
    waiting  INTEGER NOT NULL,
    active   INTEGER NOT NULL,
    held     INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (0, 0, 0, 0, 0);
