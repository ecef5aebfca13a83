-- Whose record it is: an auditor of one tenant reads that tenant's. NULL is the platform's own, for its auditors alone.
ALTER TABLE records ADD COLUMN tenant text;
CREATE INDEX records_tenant ON records (tenant, index) WHERE tenant IS NOT NULL;
