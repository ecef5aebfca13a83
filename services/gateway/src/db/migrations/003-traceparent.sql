-- Everything that a request leads to, also much later and by another process, belongs to the trace of its call.
ALTER TABLE requests ADD COLUMN traceparent text NOT NULL DEFAULT '';
