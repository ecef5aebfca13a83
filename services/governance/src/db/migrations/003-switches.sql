-- What is switched off, and what was. A row never goes; the newest signed value is made from those that hold.
CREATE TABLE switches (
  id text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 128),
  kind text NOT NULL CHECK (kind IN ('pause', 'ban', 'revocation')),
  -- As it stands in the signed value.
  target jsonb NOT NULL,
  -- Whose it is: a tenant; '*' for what is everybody's; '' for a credential that is not known here.
  tenant text NOT NULL,
  state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'resume_asked', 'lifted', 'expired')),
  -- "<issuer> <subject>", and the name that is shown.
  setter text NOT NULL,
  set_by text NOT NULL,
  set_at timestamptz NOT NULL,
  expires_at timestamptz,
  asker text NOT NULL DEFAULT '',
  resume_asked_by text NOT NULL DEFAULT '',
  lifter text NOT NULL DEFAULT '',
  lifted_by text NOT NULL DEFAULT '',
  ended_at timestamptz,
  break_glass boolean NOT NULL DEFAULT false,
  -- Two persons lift, never one.
  CHECK (state <> 'lifted' OR (asker <> '' AND lifter <> '' AND asker <> lifter))
);
CREATE INDEX switches_holding ON switches (set_at) WHERE state IN ('active', 'resume_asked');
CREATE INDEX switches_expiry ON switches (expires_at) WHERE state IN ('active', 'resume_asked');
CREATE INDEX switches_newest ON switches (set_at DESC, id);

-- The queue of every tenant, for reviewers of the platform.
CREATE INDEX items_everywhere ON items (held_at, request_id, stage);

-- Every step of every switch; the justifications stay here, their digests are in the records.
CREATE TABLE switch_history (
  step bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  switch_id text NOT NULL REFERENCES switches (id),
  event text NOT NULL,
  -- '' for governance itself.
  person text NOT NULL,
  justification text NOT NULL,
  at timestamptz NOT NULL,
  -- Of the signed switches after this step.
  version bigint NOT NULL
);
CREATE INDEX switch_history_switch ON switch_history (switch_id, step);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'history is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER switch_history_append_only BEFORE UPDATE OR DELETE ON switch_history
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER switch_history_no_truncate BEFORE TRUNCATE ON switch_history
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER switches_no_delete BEFORE DELETE ON switches FOR EACH ROW EXECUTE FUNCTION refuse_change();
