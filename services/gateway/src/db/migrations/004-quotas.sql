-- Quotas, counted once for all replicas. docs/design/limits.md says why it is exact.

-- What an ended request is charged for; null: nothing, all that was reserved is given back.
ALTER TABLE requests ADD COLUMN tokens_used bigint;

-- One row a rule and whom it counts. `used`: requests, tokens and images of `day`, then of `minute`, then how many are at work now.
CREATE TABLE quota_counters (
  -- SHA-256 of the rule's name and whom it counts.
  key     bytea PRIMARY KEY,
  -- From the first moment a day that is not cleared away.
  day     timestamptz NOT NULL DEFAULT date_trunc('day', now(), 'UTC'),
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
-- for each other in a circle. To be sent as CALL, not as SELECT: it may have happened when its answer is lost. Raises
-- no_data_found, and does nothing, when a counter is not there yet.
CREATE PROCEDURE quota_batch(
  -- Ended requests. `keep` is for those that have no row in the ledger: true charges what was reserved.
  p_settle uuid[], p_keep boolean[],
  -- Counters that are reserved from, sorted and each once, and of each its seven limits; -1 is none.
  p_counters bytea[], p_limits bigint[],
  -- Requests, what they take besides one request each, and which counters count them: p_uses[p_first[i]] to p_uses[p_first[i + 1] - 1].
  p_ids uuid[], p_tokens bigint[], p_images bigint[], p_first integer[], p_uses integer[],
  -- {now, refused: of each request 0, or counter * 8 + meter, used: seven numbers a slot, slots: of each counter}
  INOUT p_result jsonb
) LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz;
  v_day timestamptz;
  v_minute timestamptz;
  -- The counters as they are locked, by slot: seven numbers each.
  v_keys bytea[] := '{}';
  v_days timestamptz[] := '{}';
  v_minutes timestamptz[] := '{}';
  v_used bigint[] := '{}';
  v_slots integer[] := '{}';
  v_next integer := 1;
  v_base integer;
  v_row record;
  v_key bytea;
  v_back bigint[];
  v_over uuid[] := '{}';
  v_parked uuid[] := '{}';
  v_wants bigint[];
  v_refused integer[] := '{}';
  v_changed boolean := false;
BEGIN
  -- Asynchronous: an accepted request's own commit flushes this one with it; of what was not accepted nothing is owed.
  -- Plans are made once a connection, perhaps while the tables are still empty, and not for each call.
  PERFORM set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true),
    set_config('plan_cache_mode', 'force_generic_plan', true);
  v_keys := p_counters;
  IF cardinality(p_settle) > 0 THEN
    FOR v_row IN SELECT keys FROM quota_reservations WHERE request_id = ANY (p_settle) ORDER BY request_id FOR UPDATE LOOP
      v_keys := v_keys || v_row.keys;
    END LOOP;
  END IF;

  FOR v_row IN SELECT key, day, minute, used FROM quota_counters WHERE key = ANY (v_keys) ORDER BY key FOR UPDATE LOOP
    v_days := v_days || v_row.day;
    v_minutes := v_minutes || v_row.minute;
    v_used := v_used || v_row.used;
    IF p_counters[v_next] = v_row.key THEN
      v_slots[v_next] := cardinality(v_days);
      v_next := v_next + 1;
    END IF;
    v_keys[cardinality(v_days)] := v_row.key;
  END LOOP;
  v_keys := v_keys[1 : cardinality(v_days)];
  IF v_next <= cardinality(p_counters) THEN
    RAISE EXCEPTION 'a quota counter is missing' USING ERRCODE = 'no_data_found';
  END IF;

  IF cardinality(p_settle) > 0 THEN
    -- Only now that the reservations are locked the ledger is read: who accepts a request holds its reservation, too.
    FOR v_row IN
      SELECT r.*, q.state IS DISTINCT FROM 'held' AS over,
        CASE WHEN q.id IS NULL THEN p_keep[array_position(p_settle, r.request_id)] ELSE q.tokens_used IS NOT NULL END AS charged,
        -- The engine's count is not believed beyond what was asked for.
        r.tokens - least(coalesce(q.tokens_used, r.tokens), r.tokens) AS unused
      FROM quota_reservations r LEFT JOIN requests q ON q.id = r.request_id
      WHERE r.request_id = ANY (p_settle)
        AND (q.id IS NULL OR q.ended_at IS NOT NULL OR (q.state = 'held' AND q.hold_stage <> 'collecting' AND r.live))
    LOOP
      IF NOT v_row.over THEN
        v_parked := v_parked || v_row.request_id;
        v_back := '{0,0,0}';
      ELSE
        v_over := v_over || v_row.request_id;
        v_back := CASE WHEN v_row.charged THEN ARRAY[0, v_row.unused, 0] ELSE ARRAY[1, v_row.tokens, v_row.images] END;
      END IF;
      v_changed := true;
      FOREACH v_key IN ARRAY v_row.keys LOOP
        v_base := 7 * (array_position(v_keys, v_key) - 1);
        CONTINUE WHEN v_base IS NULL;
        FOR meter IN 1 .. 3 LOOP
          IF v_days[v_base / 7 + 1] = v_row.day THEN
            v_used[v_base + meter] := v_used[v_base + meter] - v_back[meter];
          END IF;
          IF v_minutes[v_base / 7 + 1] = v_row.minute THEN
            v_used[v_base + meter + 3] := v_used[v_base + meter + 3] - v_back[meter];
          END IF;
        END LOOP;
        IF v_row.live THEN v_used[v_base + 7] := v_used[v_base + 7] - 1; END IF;
      END LOOP;
    END LOOP;
    DELETE FROM quota_reservations WHERE request_id = ANY (v_over);
    IF cardinality(v_parked) > 0 THEN
      UPDATE quota_reservations SET live = false WHERE request_id = ANY (v_parked);
    END IF;
  END IF;

  v_now := clock_timestamp();
  v_day := date_trunc('day', v_now, 'UTC');
  v_minute := date_trunc('minute', v_now, 'UTC');
  -- A new window begins empty. A clock that steps back by less than a window does not open the last one again.
  FOR slot IN 1 .. cardinality(v_keys) LOOP
    IF v_days[slot] < v_day OR v_days[slot] > v_day + interval '1 day' THEN
      v_days[slot] := v_day;
      v_used[7 * slot - 6 : 7 * slot - 4] := '{0,0,0}';
    END IF;
    IF v_minutes[slot] < v_minute OR v_minutes[slot] > v_minute + interval '1 minute' THEN
      v_minutes[slot] := v_minute;
      v_used[7 * slot - 3 : 7 * slot - 1] := '{0,0,0}';
    END IF;
  END LOOP;

  FOR i IN 1 .. cardinality(p_ids) LOOP
    v_wants := ARRAY[1, p_tokens[i], p_images[i], 1, p_tokens[i], p_images[i], 1];
    v_refused[i] := 0;
    -- The longest wait first: the day, the minute, then what is at work.
    <<search>>
    FOR meter IN 1 .. 7 LOOP
      CONTINUE WHEN v_wants[meter] = 0;
      FOR u IN p_first[i] .. p_first[i + 1] - 1 LOOP
        v_base := 7 * (p_uses[u] - 1) + meter;
        CONTINUE WHEN p_limits[v_base] < 0;
        IF v_used[7 * (v_slots[p_uses[u]] - 1) + meter] + v_wants[meter] > p_limits[v_base] THEN
          v_refused[i] := p_uses[u] * 8 + meter;
          EXIT search;
        END IF;
      END LOOP;
    END LOOP;
    CONTINUE WHEN v_refused[i] > 0;
    v_changed := true;
    FOR u IN p_first[i] .. p_first[i + 1] - 1 LOOP
      v_base := 7 * (v_slots[p_uses[u]] - 1);
      FOR meter IN 1 .. 7 LOOP
        IF v_wants[meter] > 0 THEN v_used[v_base + meter] := v_used[v_base + meter] + v_wants[meter]; END IF;
      END LOOP;
    END LOOP;
  END LOOP;

  IF v_changed THEN
    UPDATE quota_counters c SET day = v_days[slot], minute = v_minutes[slot], used = v_used[7 * slot - 6 : 7 * slot]
      FROM generate_subscripts(v_keys, 1) AS slot WHERE c.key = v_keys[slot];
  END IF;
  IF cardinality(p_ids) > 0 THEN
    INSERT INTO quota_reservations (request_id, keys, day, minute, tokens, images)
      SELECT p_ids[i], ARRAY(SELECT p_counters[u] FROM unnest(p_uses[p_first[i] : p_first[i + 1] - 1]) AS u),
        v_day, v_minute, p_tokens[i], p_images[i]
      FROM generate_subscripts(p_ids, 1) AS i WHERE v_refused[i] = 0;
  END IF;
  p_result := jsonb_build_object('now', floor(extract(epoch FROM v_now) * 1000),
    'refused', to_jsonb(v_refused), 'used', to_jsonb(v_used), 'slots', to_jsonb(v_slots));
END
$$;
