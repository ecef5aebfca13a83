-- Which master key wrapped a request's key: a rotated one is replaced row by row while the service runs.
ALTER TABLE vault_keys ADD COLUMN master_id text;
CREATE INDEX vault_keys_master ON vault_keys (master_id) WHERE wrapping = 'master';
