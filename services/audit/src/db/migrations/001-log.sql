-- The log: an append-only Merkle tree of records (RFC 6962), its tiles, its signed head, and who has delivered what.

-- One row. It is locked by whoever appends, so that two replicas append one after the other.
CREATE TABLE head (
  single      boolean PRIMARY KEY DEFAULT true CHECK (single),
  size        bigint NOT NULL CHECK (size >= 0),
  -- Hashes of the complete subtrees, largest first, 32 bytes each.
  frontier    bytea NOT NULL CHECK (octet_length(frontier) % 32 = 0),
  -- Signed note (c2sp.org/tlog-checkpoint) over exactly this size.
  checkpoint  text NOT NULL,
  signed_at   timestamptz NOT NULL
);

CREATE TABLE records (
  index       bigint PRIMARY KEY CHECK (index >= 0),
  producer    text NOT NULL,
  epoch       text NOT NULL,
  sequence    bigint NOT NULL,
  event       text NOT NULL,
  request_id  text,
  terminal    boolean NOT NULL,
  -- Canonical JSON (RFC 8785): the leaf's bytes. A tlog-tiles bundle carries at most 65,535.
  json        bytea NOT NULL CHECK (octet_length(json) BETWEEN 2 AND 65535),
  leaf_hash   bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
  logged_at   timestamptz NOT NULL,
  UNIQUE (producer, epoch, sequence)
);
CREATE INDEX records_request ON records (request_id, index) WHERE request_id IS NOT NULL;
CREATE INDEX records_leaf ON records (leaf_hash);

-- Hash tiles (c2sp.org/tlog-tiles): a partial tile is a prefix of the full one, so one row serves every width.
CREATE TABLE tiles (
  level   smallint NOT NULL CHECK (level BETWEEN 0 AND 63),
  index   bigint NOT NULL CHECK (index >= 0),
  hashes  bytea NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
  PRIMARY KEY (level, index)
);
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Events that are no records: kept here whole, while a record of their own tells place, digest and reason.
CREATE TABLE rejections (
  producer      text NOT NULL,
  epoch         text NOT NULL,
  sequence      bigint NOT NULL,
  -- SHA-256 of what came in place of a record.
  digest        bytea NOT NULL CHECK (octet_length(digest) = 32),
  bytes         bytea NOT NULL,
  record_index  bigint NOT NULL REFERENCES records (index),
  PRIMARY KEY (producer, epoch, sequence, digest)
);

-- How far each producer's numbering has arrived without a gap.
CREATE TABLE arrivals (
  producer    text NOT NULL,
  epoch       text NOT NULL,
  -- Every sequence up to this one has arrived; highest: the last one seen.
  complete    bigint NOT NULL,
  highest     bigint NOT NULL,
  gap_since   timestamptz,
  asked_at    timestamptz,
  CHECK (complete <= highest),
  PRIMARY KEY (producer, epoch)
);
CREATE INDEX arrivals_gaps ON arrivals (gap_since) WHERE gap_since IS NOT NULL;

-- Nobody edits or deletes a record, not even by mistake: the Merkle tree shows who did it on purpose.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER records_append_only BEFORE UPDATE OR DELETE ON records FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER records_no_truncate BEFORE TRUNCATE ON records FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER tiles_no_delete BEFORE DELETE ON tiles FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER tiles_no_truncate BEFORE TRUNCATE ON tiles FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
