-- A subject names a person at one issuer only: two issuers may both have an "ann".
DROP INDEX requests_idempotency;
CREATE UNIQUE INDEX requests_idempotency ON requests (tenant, issuer, subject, idempotency_key) WHERE idempotency_key IS NOT NULL;
