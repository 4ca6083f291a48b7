-- Mail that goes on from another reverse-path than it came with, and a quick look at what is held.

-- Whom these recipients get it from, where that is not the message's sender: the owner of the list that they are
-- members of, or a source route's reverse-path. NULL: the sender.
ALTER TABLE delivery ADD COLUMN reverse_path TEXT;
CREATE INDEX delivery_held ON delivery (destination) WHERE state = 'held';
