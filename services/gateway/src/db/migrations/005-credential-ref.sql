-- Which entry of the signed credentials a caller was believed for ('token/…', 'certificate/…'), so that its requests end
-- when the entry is gone; empty for an access token.
ALTER TABLE requests ADD COLUMN credential_ref text NOT NULL DEFAULT '';
