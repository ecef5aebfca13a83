-- API tokens: of the token itself only its SHA-256.
CREATE TABLE tokens (
  id text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
  hash text NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$'),
  name text NOT NULL,
  tenant text NOT NULL,
  issuer text NOT NULL,
  subject text NOT NULL,
  groups text[] NOT NULL,
  created_at timestamptz NOT NULL,
  -- "<issuer> <subject>" and the name that is shown.
  creator text NOT NULL,
  created_by text NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  revoked_by text NOT NULL DEFAULT '',
  justification text NOT NULL DEFAULT '',
  -- In its shard of the signed tokens: until it is revoked or past its time.
  listed boolean NOT NULL DEFAULT true,
  CHECK (revoked_at IS NULL OR NOT listed)
);
CREATE INDEX tokens_listed ON tokens (left(id, 1), id) WHERE listed;
CREATE INDEX tokens_expiry ON tokens (expires_at) WHERE listed;
CREATE INDEX tokens_tenant ON tokens (tenant, created_at DESC);
CREATE INDEX tokens_owner ON tokens (tenant, issuer, subject) WHERE listed;

-- Client certificates that stand for an identity, by one of the two names in them.
CREATE TABLE certificates (
  id uuid PRIMARY KEY,
  spiffe_id text,
  subject_dn text,
  tenant text NOT NULL,
  subject text NOT NULL,
  groups text[] NOT NULL,
  created_at timestamptz NOT NULL,
  creator text NOT NULL,
  created_by text NOT NULL,
  expires_at timestamptz,
  unbound_at timestamptz,
  unbound_by text NOT NULL DEFAULT '',
  justification text NOT NULL DEFAULT '',
  listed boolean NOT NULL DEFAULT true,
  CHECK ((spiffe_id IS NULL) <> (subject_dn IS NULL)),
  CHECK (unbound_at IS NULL OR NOT listed)
);
-- A certificate stands for one identity.
CREATE UNIQUE INDEX certificates_spiffe_id ON certificates (spiffe_id) WHERE listed;
CREATE UNIQUE INDEX certificates_subject_dn ON certificates (subject_dn) WHERE listed;
CREATE INDEX certificates_expiry ON certificates (expires_at) WHERE listed;
CREATE INDEX certificates_tenant ON certificates (tenant, created_at DESC);
