-- The three membership tables repeat the position of their event: it must be that of the event, once the event is stored.
CREATE FUNCTION check_event_stream_ordering() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  stored bigint;
BEGIN
  SELECT e.stream_ordering INTO stored FROM events AS e WHERE e.event_id = NEW.event_id;
  IF stored <> NEW.event_stream_ordering THEN
    RAISE EXCEPTION 'Incorrect event_stream_ordering';
  END IF;
  RETURN NEW;
END
$body$;

CREATE FUNCTION check_partial_state_events() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  stored text;
BEGIN
  SELECT e.room_id INTO stored FROM events AS e WHERE e.event_id = NEW.event_id;
  IF stored <> NEW.room_id THEN
    RAISE EXCEPTION 'Incorrect room_id in partial_state_events';
  END IF;
  RETURN NEW;
END
$body$;

-- A lock is one row of worker_read_write_locks_mode, the mode in which it is held, and a row for each holder. The first holder
-- makes the mode; later ones lock the row as it is, and their foreign key fails when the mode is the other one.
CREATE FUNCTION upsert_read_write_lock_parent() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  INSERT INTO worker_read_write_locks_mode AS held (lock_name, lock_key, write_lock, token)
  VALUES (NEW.lock_name, NEW.lock_key, NEW.write_lock, NEW.token)
  ON CONFLICT (lock_name, lock_key) DO UPDATE SET token = held.token WHERE false;
  RETURN NEW;
END
$body$;

-- The mode names one holder. When that one goes, another takes its place; when nobody is left, the mode goes too.
CREATE FUNCTION delete_read_write_lock_parent() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  heir text;
BEGIN
  PERFORM FROM worker_read_write_locks_mode AS held
  WHERE held.lock_name = OLD.lock_name AND held.lock_key = OLD.lock_key AND held.token = OLD.token
  FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT holder.token INTO heir FROM worker_read_write_locks AS holder
  WHERE holder.lock_name = OLD.lock_name AND holder.lock_key = OLD.lock_key
  LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    UPDATE worker_read_write_locks_mode SET token = heir WHERE lock_name = OLD.lock_name AND lock_key = OLD.lock_key;
  ELSE
    DELETE FROM worker_read_write_locks_mode WHERE lock_name = OLD.lock_name AND lock_key = OLD.lock_key;
  END IF;
  RETURN NULL;
END
$body$;
