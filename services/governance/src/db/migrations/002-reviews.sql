-- What waits for a person. A request can be held twice: its prompt, then its output.
CREATE TABLE items (
  request_id text NOT NULL,
  stage text NOT NULL CHECK (stage IN ('door1', 'door2')),
  tenant text NOT NULL,
  -- Whose request it is.
  subject text NOT NULL,
  model text NOT NULL,
  -- The hold: sallyport.attestation.v1.Envelope.
  hold bytea NOT NULL,
  findings jsonb NOT NULL,
  held_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  needs_second boolean NOT NULL,
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'second_review', 'decided', 'expired')),
  -- The lease: "<issuer> <subject>" of its holder, and the name that is shown.
  lease_id text NOT NULL DEFAULT '',
  holder text NOT NULL DEFAULT '',
  claimed_by text NOT NULL DEFAULT '',
  lease_expires_at timestamptz,
  -- Who allowed it first, where two must.
  first_reviewer text NOT NULL DEFAULT '',
  first_reviewed_by text NOT NULL DEFAULT '',
  decision text NOT NULL DEFAULT '' CHECK (decision IN ('', 'allow', 'deny')),
  decided_by text NOT NULL DEFAULT '',
  decided_at timestamptz,
  PRIMARY KEY (request_id, stage)
);
CREATE INDEX items_queue ON items (tenant, held_at, request_id, stage);
CREATE INDEX items_expiry ON items (expires_at) WHERE state IN ('open', 'second_review');

-- Every reviewer's word; the text stays here, its digest is in the record and in the signature.
CREATE TABLE decisions (
  request_id text NOT NULL,
  stage text NOT NULL,
  reviewer text NOT NULL,
  decision text NOT NULL,
  justification text NOT NULL,
  justification_digest text NOT NULL,
  decided_at timestamptz NOT NULL,
  PRIMARY KEY (request_id, stage, reviewer),
  FOREIGN KEY (request_id, stage) REFERENCES items
);

-- Messages that failed for good anywhere: for operators. The payload is ciphertext or nothing of a caller's.
CREATE TABLE dead_letters (
  msg_id text PRIMARY KEY,
  stream text NOT NULL,
  subject text NOT NULL,
  request_id text NOT NULL,
  reason text NOT NULL,
  deliveries integer NOT NULL,
  payload bytea NOT NULL,
  received_at timestamptz NOT NULL
);
