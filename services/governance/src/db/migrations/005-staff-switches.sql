-- Set by the platform's staff: on whomever it is, they alone lift it. What was set before this column was, keeps the rule
-- under which it was set, as nobody knows any more what office its setter held.
ALTER TABLE switches ADD COLUMN of_platform boolean NOT NULL DEFAULT false;
