-- Models, by the SHA-256 of what is served. A digest never comes back from `revoked`.
CREATE TABLE models (
  digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
  name text NOT NULL,
  version text NOT NULL,
  engine text NOT NULL,
  licence text NOT NULL,
  tier text NOT NULL,
  context_tokens integer NOT NULL,
  card text NOT NULL,
  remote_endpoint text NOT NULL,
  remote_model text NOT NULL,
  size_bytes bigint NOT NULL,
  state text NOT NULL CHECK (state IN ('imported', 'approved', 'revoked')),
  -- "<issuer> <subject>" and the name that is shown.
  importer text NOT NULL,
  imported_by text NOT NULL,
  imported_at timestamptz NOT NULL,
  decided_by text NOT NULL DEFAULT '',
  decided_at timestamptz,
  justification text NOT NULL DEFAULT '',
  UNIQUE (name, version)
);
-- Callers name a model, so that only one of a name is approved at a time.
CREATE UNIQUE INDEX models_served ON models (name) WHERE state = 'approved';

-- The newest signed value of each watched key: put again whenever a bucket lacks it.
CREATE TABLE signed_state (
  bucket text NOT NULL,
  key text NOT NULL,
  version bigint NOT NULL CHECK (version > 0),
  -- What the value is made from: a bundle's digest, or that of the manifest's models.
  digest text NOT NULL,
  -- DSSE JSON.
  envelope text NOT NULL,
  PRIMARY KEY (bucket, key)
);
