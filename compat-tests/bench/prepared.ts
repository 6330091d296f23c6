import type { Home } from "../harness/home.ts";
import { makeHome, shareIdentity } from "../harness/home.ts";
import { MatrixClient, type Session } from "../harness/client.ts";
import type { PostgresServer } from "../harness/postgres.ts";
import { inParallel } from "../harness/scratch.ts";
import { startServer, type ServerKind } from "../harness/server.ts";
import type { Scale } from "./scenarios.ts";

/**
 * A database with much in it, made once; each server starts on a copy of its own. Made by Myelin, for Synapse would take most of an hour
 * over it; what lies in the tables is the same for both.
 */
export interface Prepared {
  /** A home on a copy of the database. */
  homeFor(kind: ServerKind): Promise<Home>;
  /** The first is in all rooms; the others own them. */
  clients(baseUrl: string): MatrixClient[];
}

const SERVER_NAME = "bench.test";
const OWNERS = 20;
/** Messages by the API; the others are copies of them. */
const WRITTEN = 100;

export async function prepareDatabase(postgres: PostgresServer, scale: Scale): Promise<Prepared> {
  const seed = await makeHome({ name: "bench-seed", postgres, serverName: SERVER_NAME, logLevel: "WARNING" });
  const server = await startServer("myelin", seed, { compiled: true });
  const people: MatrixClient[] = [];
  let archive: string;
  try {
    for (let index = 0; index <= OWNERS; index++) {
      const client = server.client();
      await client.register(index === 0 ? "reader" : `owner${index}`, "bench password");
      people.push(client);
    }
    const [reader, ...owners] = people as [MatrixClient, ...MatrixClient[]];
    await inParallel(Array.from({ length: scale.manyRooms }), 8, async (_, index) => {
      const owner = owners[index % owners.length]!;
      const room = await owner.createRoom({ preset: "public_chat", name: `Room ${index}`, topic: `Where ${index} is talked about` });
      await reader.join(room);
      await owner.text(room, `Hello from room ${index}`);
    });
    archive = await owners[0]!.createRoom({ preset: "public_chat", name: "Archive", room_version: "1" });
    await reader.join(archive);
    for (let index = 0; index < WRITTEN; index++) await owners[0]!.text(archive, sentence(index));
  } finally {
    await server.stop();
  }
  await copyMessages(postgres, seed.database, archive, scale.searchable - WRITTEN);
  const sessions = people.map((client): Session => ({ userId: client.userId, deviceId: client.deviceId, accessToken: client.accessToken! }));
  return {
    async homeFor(kind) {
      const database = `${seed.database}_${kind}`;
      await postgres.createDatabase(database, seed.database);
      const home = await makeHome({ name: `bench-prepared-${kind}`, postgres, database, keepDatabase: true, serverName: SERVER_NAME, logLevel: "WARNING" });
      shareIdentity(seed, home);
      return home;
    },
    clients: (baseUrl) => sessions.map((session) => MatrixClient.of(baseUrl, session)),
  };
}

/** The word that every thousandth message has. */
export function searchWord(index: number): string {
  return `subject${index % 1000}`;
}

function sentence(index: number): string {
  return `Somebody said number ${index} about ${searchWord(index)}, and some more words as people use them`;
}

/**
 * Puts more messages at the end of the room: copies of the last one with ids, places and words of their own. Only rooms of version 1
 * can be filled so, where an event's id is not its hash.
 */
async function copyMessages(postgres: PostgresServer, database: string, roomId: string, count: number): Promise<void> {
  if (count <= 0) return;
  const query = (sql: string, params: unknown[] = []): Promise<object[]> => postgres.query(database, sql, params);
  const [last] = await postgres.query<{ event_id: string }>(
    database,
    `SELECT event_id FROM events WHERE room_id = $1 AND type = 'm.room.message' ORDER BY stream_ordering DESC LIMIT 1`,
    [roomId],
  );
  await query(`CREATE TABLE bench_copies (n bigint, event_id text, stream_ordering bigint, body text, prev_event_id text)`);
  await query(
    `INSERT INTO bench_copies
     SELECT n, '$copy' || n || ':${SERVER_NAME}', nextval('events_stream_seq'),
            'Somebody said number ' || n || ' about subject' || (n % 1000) || ', and some more words as people use them',
            CASE WHEN n = $1::bigint THEN $2 ELSE '$copy' || (n - 1) || ':${SERVER_NAME}' END
     FROM generate_series($1::bigint, $1::bigint + $3::bigint - 1) AS n`,
    [WRITTEN, last!.event_id, count],
  );
  await query(
    `INSERT INTO events (topological_ordering, event_id, type, room_id, content, unrecognized_keys, processed, outlier, depth, origin_server_ts,
                         received_ts, sender, contains_url, instance_name, stream_ordering)
     SELECT e.topological_ordering + c.n - $1::bigint + 1, c.event_id, e.type, e.room_id, e.content, e.unrecognized_keys, e.processed, e.outlier,
            e.depth + c.n - $1::bigint + 1, e.origin_server_ts + c.n, e.received_ts + c.n, e.sender, e.contains_url, e.instance_name, c.stream_ordering
     FROM bench_copies c CROSS JOIN events e WHERE e.event_id = $2 ORDER BY c.n`,
    [WRITTEN, last!.event_id],
  );
  await query(
    `INSERT INTO event_json (event_id, room_id, internal_metadata, json, format_version)
     SELECT c.event_id, j.room_id, j.internal_metadata,
            (j.json::jsonb || jsonb_build_object(
               'event_id', c.event_id, 'depth', e.depth, 'origin_server_ts', e.origin_server_ts,
               'prev_events', jsonb_build_array(jsonb_build_array(c.prev_event_id, jsonb_build_object())),
               'content', jsonb_build_object('msgtype', 'm.text', 'body', c.body)))::text,
            j.format_version
     FROM bench_copies c JOIN events e USING (event_id) CROSS JOIN event_json j WHERE j.event_id = $1`,
    [last!.event_id],
  );
  await query(
    `INSERT INTO event_search (event_id, room_id, key, vector, origin_server_ts, stream_ordering)
     SELECT c.event_id, e.room_id, 'content.body', to_tsvector('english', c.body), e.origin_server_ts, c.stream_ordering
     FROM bench_copies c JOIN events e USING (event_id)`,
  );
  await query(
    `INSERT INTO event_to_state_groups (event_id, state_group)
     SELECT c.event_id, g.state_group FROM bench_copies c CROSS JOIN event_to_state_groups g WHERE g.event_id = $1`,
    [last!.event_id],
  );
  await query(`INSERT INTO event_edges (event_id, prev_event_id, is_state) SELECT event_id, prev_event_id, false FROM bench_copies`);
  await query(`UPDATE event_forward_extremities SET event_id = (SELECT event_id FROM bench_copies ORDER BY n DESC LIMIT 1) WHERE room_id = $1`, [roomId]);
  await query(
    `UPDATE sliding_sync_joined_rooms SET event_stream_ordering = (SELECT max(stream_ordering) FROM bench_copies),
            bump_stamp = (SELECT max(stream_ordering) FROM bench_copies) WHERE room_id = $1`,
    [roomId],
  );
  await query(`UPDATE stream_positions SET stream_id = (SELECT max(stream_ordering) FROM bench_copies) WHERE stream_name = 'events'`);
  // Long ago dealt with: no server has them to send or to count.
  const newest = `(SELECT max(stream_ordering) FROM bench_copies)`;
  await query(`UPDATE federation_stream_position SET stream_id = ${newest} WHERE type = 'events'`);
  await query(`UPDATE appservice_stream_position SET stream_ordering = ${newest}`);
  await query(`UPDATE event_push_summary_stream_ordering SET stream_ordering = ${newest}`);
  await query(`DROP TABLE bench_copies`);
  await query(`VACUUM ANALYZE`);
}
