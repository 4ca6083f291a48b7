-- Webhooks: whom the relay tells of events, and what each has not been told yet.

CREATE TABLE webhook (
    url   TEXT PRIMARY KEY,
    kinds TEXT NOT NULL            -- the events that it is told of, in the words of the timeline
) STRICT, WITHOUT ROWID;

-- Written together with what it tells of, by the relay and by the `mta` command alike.
CREATE TABLE owed (
    id          INTEGER PRIMARY KEY,  -- made like a queue id; receivers know doubles by it
    url         TEXT    NOT NULL,
    message     INTEGER NOT NULL,
    sender      TEXT    NOT NULL,
    destination TEXT    NOT NULL,     -- "" where it is about none
    event       TEXT    NOT NULL      -- as in a timeline, one of them
) STRICT;
CREATE INDEX owed_url ON owed (url, id);
