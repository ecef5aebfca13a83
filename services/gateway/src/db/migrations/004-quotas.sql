-- Quotas, counted once for all replicas. docs/design/limits.md says why it is exact.

-- What an ended request is charged for; null: nothing, all that was reserved is given back.
ALTER TABLE requests ADD COLUMN tokens_used bigint;

-- One row a rule and whom it counts. `used`: requests, tokens and images of `day`, then of `minute`, then how many are at work now.
CREATE TABLE quota_counters (
  -- SHA-256 of the rule's name and whom it counts.
  key     bytea PRIMARY KEY,
  day     timestamptz NOT NULL DEFAULT '-infinity',
  minute  timestamptz NOT NULL DEFAULT '-infinity',
  used    bigint[] NOT NULL DEFAULT '{0,0,0,0,0,0,0}' CHECK (cardinality(used) = 7)
) WITH (fillfactor = 50);
-- For clearing away what is of no use any more; changes once a day.
CREATE INDEX quota_counters_day ON quota_counters (day);

-- What a request took, until it has ended: deleted in the transaction that changes the counters.
CREATE TABLE quota_reservations (
  request_id  uuid PRIMARY KEY,
  keys        bytea[] NOT NULL,
  -- The windows it was counted in.
  day         timestamptz NOT NULL,
  minute      timestamptz NOT NULL,
  tokens      bigint NOT NULL,
  images      bigint NOT NULL,
  -- False while it waits for a person: then it is not at work.
  live        boolean NOT NULL DEFAULT true,
  created_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Settles what has ended and reserves what comes, all at once. Locks reservations by id, then counters by key: no two calls wait
-- for each other in a circle. To be sent as CALL, not as SELECT: it may have happened when its answer is lost.
CREATE PROCEDURE quota_batch(
  -- Ended requests. `keep` is for those that have no row in the ledger: true charges what was reserved.
  p_settle uuid[], p_keep boolean[],
  -- Counters that are reserved from, and of each its seven limits; -1 is none.
  p_counters bytea[], p_limits bigint[],
  -- Requests, what they take besides one request each, and which counters count them: p_uses[p_first[i]] to p_uses[p_first[i + 1] - 1].
  p_ids uuid[], p_tokens bigint[], p_images bigint[], p_first integer[], p_uses integer[],
  -- {now, used: of each counter, refused: of each request 0, or counter * 8 + meter}
  INOUT p_result jsonb
) LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz;
  v_day timestamptz;
  v_minute timestamptz;
  v_used bigint[] := '{}';
  v_refused integer[] := '{}';
  v_wants bigint[];
  v_base integer;
BEGIN
  -- An accepted request's own commit flushes this one with it; of what was not accepted nothing is owed.
  PERFORM set_config('synchronous_commit', 'off', true);
  -- Plans are made once a connection, perhaps while the tables are still empty.
  PERFORM set_config('enable_seqscan', 'off', true);
  PERFORM 1 FROM quota_reservations WHERE request_id = ANY (p_settle) ORDER BY request_id FOR UPDATE;
  IF (SELECT count(*) FROM quota_counters WHERE key = ANY (p_counters)) < cardinality(p_counters) THEN
    INSERT INTO quota_counters (key) SELECT c.key FROM unnest(p_counters) AS c (key) ORDER BY c.key ON CONFLICT DO NOTHING;
  END IF;
  PERFORM 1 FROM quota_counters WHERE key IN (
    SELECT unnest(p_counters) UNION SELECT unnest(keys) FROM quota_reservations WHERE request_id = ANY (p_settle)
  ) ORDER BY key FOR UPDATE;
  v_now := clock_timestamp();
  v_day := date_trunc('day', v_now, 'UTC');
  v_minute := date_trunc('minute', v_now, 'UTC');

  IF cardinality(p_settle) > 0 THEN
    WITH due AS (
      SELECT r.*, q.state IS DISTINCT FROM 'held' AS over,
        CASE WHEN q.id IS NULL THEN s.keep ELSE q.tokens_used IS NOT NULL END AS charged,
        -- The engine's word for it is not taken beyond what was asked for.
        least(coalesce(q.tokens_used, r.tokens), r.tokens) AS tokens_used
      FROM quota_reservations r
        JOIN (SELECT id, bool_or(keep) AS keep FROM unnest(p_settle, p_keep) AS s (id, keep) GROUP BY id) s ON s.id = r.request_id
        LEFT JOIN requests q ON q.id = r.request_id
      WHERE q.id IS NULL OR q.ended_at IS NOT NULL OR (q.state = 'held' AND q.hold_stage <> 'collecting' AND r.live)
    ), ended AS (
      DELETE FROM quota_reservations r USING due WHERE r.request_id = due.request_id AND due.over
    ), parked AS (
      UPDATE quota_reservations r SET live = false FROM due WHERE r.request_id = due.request_id AND NOT due.over
    ), backs AS (
      SELECT k.key, d.day, d.minute, d.live,
        CASE WHEN d.over AND NOT d.charged THEN 1 ELSE 0 END AS requests,
        CASE WHEN NOT d.over THEN 0 WHEN d.charged THEN d.tokens - d.tokens_used ELSE d.tokens END AS tokens,
        CASE WHEN d.over AND NOT d.charged THEN d.images ELSE 0 END AS images
      FROM due d, unnest(d.keys) AS k (key)
    ), sums AS (
      SELECT c.key,
        coalesce(sum(b.requests) FILTER (WHERE b.day = c.day), 0) AS day_requests,
        coalesce(sum(b.tokens) FILTER (WHERE b.day = c.day), 0) AS day_tokens,
        coalesce(sum(b.images) FILTER (WHERE b.day = c.day), 0) AS day_images,
        coalesce(sum(b.requests) FILTER (WHERE b.minute = c.minute), 0) AS minute_requests,
        coalesce(sum(b.tokens) FILTER (WHERE b.minute = c.minute), 0) AS minute_tokens,
        coalesce(sum(b.images) FILTER (WHERE b.minute = c.minute), 0) AS minute_images,
        count(*) FILTER (WHERE b.live) AS live
      FROM backs b JOIN quota_counters c ON c.key = b.key GROUP BY c.key
    )
    UPDATE quota_counters c SET used = ARRAY[
      c.used[1] - day_requests, c.used[2] - day_tokens, c.used[3] - day_images,
      c.used[4] - minute_requests, c.used[5] - minute_tokens, c.used[6] - minute_images, c.used[7] - live
    ] FROM sums WHERE sums.key = c.key;
  END IF;

  IF cardinality(p_ids) > 0 THEN
    -- A new window begins empty. A clock that steps back by less than a window does not open the last one again.
    UPDATE quota_counters SET day = v_day, used = '{0,0,0}' || used[4:7]
      WHERE key = ANY (p_counters) AND (day < v_day OR day > v_day + interval '1 day');
    UPDATE quota_counters SET minute = v_minute, used = used[1:3] || '{0,0,0}' || used[7:7]
      WHERE key = ANY (p_counters) AND (minute < v_minute OR minute > v_minute + interval '1 minute');
    -- All counters one after the other, seven numbers each.
    SELECT coalesce(array_agg(m.value ORDER BY k.position, m.meter), '{}') INTO v_used
      FROM unnest(p_counters) WITH ORDINALITY AS k (key, position) JOIN quota_counters c ON c.key = k.key,
        unnest(c.used) WITH ORDINALITY AS m (value, meter);
    IF cardinality(v_used) <> 7 * cardinality(p_counters) THEN
      RAISE EXCEPTION 'a counter was cleared away meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;

    FOR i IN 1 .. cardinality(p_ids) LOOP
      v_wants := ARRAY[1, p_tokens[i], p_images[i], 1, p_tokens[i], p_images[i], 1];
      v_refused[i] := 0;
      -- The longest wait first: the day, the minute, then what is at work.
      <<search>>
      FOR meter IN 1 .. 7 LOOP
        CONTINUE WHEN v_wants[meter] = 0;
        FOR u IN p_first[i] .. p_first[i + 1] - 1 LOOP
          v_base := (p_uses[u] - 1) * 7 + meter;
          IF p_limits[v_base] >= 0 AND v_used[v_base] + v_wants[meter] > p_limits[v_base] THEN
            v_refused[i] := p_uses[u] * 8 + meter;
            EXIT search;
          END IF;
        END LOOP;
      END LOOP;
      CONTINUE WHEN v_refused[i] > 0;
      FOR u IN p_first[i] .. p_first[i + 1] - 1 LOOP
        v_base := (p_uses[u] - 1) * 7;
        FOR meter IN 1 .. 7 LOOP
          v_used[v_base + meter] := v_used[v_base + meter] + v_wants[meter];
        END LOOP;
      END LOOP;
    END LOOP;

    UPDATE quota_counters c SET used = v_used[7 * k.position - 6 : 7 * k.position]
      FROM unnest(p_counters) WITH ORDINALITY AS k (key, position) WHERE c.key = k.key;
    INSERT INTO quota_reservations (request_id, keys, day, minute, tokens, images)
      SELECT p_ids[i], ARRAY(SELECT p_counters[u] FROM unnest(p_uses[p_first[i] : p_first[i + 1] - 1]) AS u),
        v_day, v_minute, p_tokens[i], p_images[i]
      FROM generate_subscripts(p_ids, 1) AS i WHERE v_refused[i] = 0;
  END IF;
  p_result := jsonb_build_object(
    'now', floor(extract(epoch FROM v_now) * 1000), 'used', to_jsonb(v_used), 'refused', to_jsonb(v_refused));
END
$$;
