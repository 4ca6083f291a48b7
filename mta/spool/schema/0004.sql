-- How it goes with telling a webhook: [last try, failures in a row, why, next try], times in seconds since 1970.

ALTER TABLE webhook ADD COLUMN standing TEXT NOT NULL DEFAULT '[null, 0, "", null]';
