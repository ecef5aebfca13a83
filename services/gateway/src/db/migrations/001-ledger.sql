-- The request ledger: every accepted request, and its way to exactly one terminal state. Only the gateway writes it.

CREATE TYPE request_state AS ENUM ('queued', 'running', 'held', 'released', 'blocked', 'failed', 'cancelled');

CREATE TABLE requests (
  id                uuid PRIMARY KEY,
  tenant            text NOT NULL,
  subject           text NOT NULL,
  issuer            text NOT NULL,
  credential        text NOT NULL,
  groups            text[] NOT NULL,
  operation         text NOT NULL,
  model             text NOT NULL,
  model_digest      text NOT NULL,
  model_tier        text NOT NULL,
  gateway_id        text NOT NULL,
  client_reference  text NOT NULL DEFAULT '',
  idempotency_key   text,
  trace_id          text NOT NULL,
  -- Hex SHA-256(salt || content): of what the caller sent, and of what door 1 let in (they differ when it sanitised).
  sent_digest       text NOT NULL,
  request_digest    text NOT NULL,
  -- Data key and salt, wrapped to the gateway and to the vault (compact JWE).
  secret_gateway    text NOT NULL,
  secret_vault      text NOT NULL,
  -- Serialised sallyport.bus.v1.Job, less attempt and deadline: the prompt in it is ciphertext.
  job               bytea NOT NULL,
  state             request_state NOT NULL,
  attempt           integer NOT NULL DEFAULT 0,
  -- Serialised envelope of the worker's claim on this attempt.
  claim             bytea,
  windows_released  integer NOT NULL DEFAULT 0,
  -- 'door1' or 'door2' once somebody has to decide; 'collecting' while door 2 still reads the rest.
  hold_stage        text CHECK (hold_stage IN ('door1', 'collecting', 'door2')),
  hold_expires_at   timestamptz,
  code              text NOT NULL DEFAULT '',
  message           text NOT NULL DEFAULT '',
  findings          jsonb NOT NULL DEFAULT '[]',
  policy_digest     text NOT NULL DEFAULT '',
  leaf_hash         text NOT NULL DEFAULT '',
  created_at        timestamptz NOT NULL,
  deadline_at       timestamptz NOT NULL,
  dispatched_at     timestamptz,
  progress_at       timestamptz,
  ended_at          timestamptz,
  CHECK ((ended_at IS NOT NULL) = (state IN ('released', 'blocked', 'failed', 'cancelled'))),
  CHECK ((hold_stage IS NOT NULL) OR state <> 'held')
);

CREATE UNIQUE INDEX requests_idempotency ON requests (tenant, subject, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- What the reconciler looks at: small, whatever the ledger's size.
CREATE INDEX requests_live ON requests (state, deadline_at) WHERE state IN ('queued', 'running', 'held');
CREATE INDEX requests_owner ON requests (tenant, subject, created_at DESC);

-- One row a released window: the ticket, and the bytes that it is over as ciphertext.
CREATE TABLE windows (
  request_id  uuid NOT NULL REFERENCES requests (id),
  attempt     integer NOT NULL,
  index       integer NOT NULL,
  envelope    bytea NOT NULL,
  content     bytea NOT NULL,
  final       boolean NOT NULL,
  PRIMARY KEY (request_id, attempt, index)
);

-- What waits, or waited, for a person: door 1's hold of the prompt, door 2's hold of a whole output.
CREATE TABLE holds (
  request_id    uuid NOT NULL REFERENCES requests (id),
  stage         text NOT NULL CHECK (stage IN ('door1', 'door2')),
  attempt       integer NOT NULL,
  hold          bytea NOT NULL,
  content       bytea,
  review        bytea,
  countersign   bytea,
  allowed       boolean,
  PRIMARY KEY (request_id, stage)
);
