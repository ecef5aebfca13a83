-- Messages on their way out: written in the transaction that changes the state, deleted once the message is safe.
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Nats-Msg-Id: the same message is never here twice.
  msg_id text NOT NULL UNIQUE,
  epoch uuid NOT NULL,
  -- Audit events only: place in the epoch, from 1, without gaps.
  sequence bigint CHECK (sequence > 0),
  stream text NOT NULL,
  subject text NOT NULL,
  -- Protobuf type name of the payload.
  type text NOT NULL,
  payload bytea NOT NULL,
  traceparent text NOT NULL DEFAULT '',
  -- Deleted when the consumer confirms it; otherwise when the stream has acknowledged it.
  confirm boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  attempts integer NOT NULL DEFAULT 1,
  -- Published again at this time if it is still here.
  due_at timestamptz NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_at);
CREATE UNIQUE INDEX outbox_place ON outbox (epoch, sequence) WHERE sequence IS NOT NULL;

-- One row a boot of a process. `committed` is the number of its last group commit: a process that lost the connection at
-- COMMIT reads here whether the group was stored.
CREATE TABLE outbox_epochs (
  epoch uuid PRIMARY KEY,
  committed bigint NOT NULL DEFAULT 0,
  sequence bigint NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
