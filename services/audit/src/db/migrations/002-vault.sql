-- The content vault: ciphertexts under each request's key, and that key wrapped by the master key. Deleting a row of
-- vault_keys erases every body of its request, here and wherever a copy lies; the log still verifies.

CREATE TABLE vault_keys (
  request_id  text PRIMARY KEY,
  -- 'master': nonce, ciphertext and tag under the vault's master key. 'jwe': as it came, because it could not be
  -- opened at the time (a rotated key); opened when it is needed.
  wrapping    text NOT NULL CHECK (wrapping IN ('master', 'jwe')),
  wrapped     bytea NOT NULL,
  stored_at   timestamptz NOT NULL
);

CREATE TABLE vault_bodies (
  request_id    text NOT NULL,
  kind          text NOT NULL CHECK (kind IN ('prompt', 'output')),
  -- The AEAD context under which the ciphertext opens.
  context       text NOT NULL CHECK (context IN ('prompt', 'verdict', 'output')),
  attempt       integer NOT NULL,
  index         integer NOT NULL,
  ciphertext    bytea NOT NULL,
  -- The record that came with it; its salted digests are of these bodies.
  record_index  bigint NOT NULL REFERENCES records (index),
  PRIMARY KEY (request_id, context, attempt, index, record_index)
);
ALTER TABLE vault_bodies ALTER COLUMN ciphertext SET STORAGE EXTERNAL;
