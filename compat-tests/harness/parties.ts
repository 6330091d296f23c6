import assert from "node:assert/strict";
import { C, enc, type Json, type MatrixClient } from "./client.ts";
import { type FederatedHomeOptions, makeFederatedHome } from "./federated.ts";
import type { Home } from "./home.ts";
import type { PostgresServer } from "./postgres.ts";
import { waitFor } from "./scratch.ts";
import { type RunningServer, type ServerKind, startServer, type StartOptions } from "./server.ts";

/** A homeserver with one user on it, one of those that talk with each other. */
export interface Party {
  readonly kind: ServerKind;
  readonly home: Home;
  server: RunningServer;
  readonly user: MatrixClient;
}

export const PATIENCE_MS = 60_000;
export const PASSWORD = "a long password of ours";

/** Makes a home that others reach over TLS, starts a server on it and registers its user. */
export async function startParty(kind: ServerKind, username: string, home: FederatedHomeOptions, options?: StartOptions): Promise<Party> {
  const made = await makeFederatedHome(home);
  const server = await startServer(kind, made, options);
  const user = server.client();
  await user.register(username, PASSWORD);
  return { kind, home: made, server, user };
}

/** Stops the servers; their databases go, unless COMPAT_KEEP is set. */
export async function endParties(parties: readonly Party[], postgres: PostgresServer | undefined): Promise<void> {
  for (const { server, home } of parties) {
    if (!server.exited()) await server.stop().catch(() => server.kill());
    if (process.env["COMPAT_KEEP"] === undefined) await postgres?.dropDatabase(home.database);
  }
  await postgres?.stop();
}

export const room = (roomId: string, rest: string): string => `${C}/rooms/${enc(roomId)}/${rest}`;

export function joinVia(party: Party, roomId: string, via: Party, user: MatrixClient = party.user): Promise<Json> {
  return user.post(`${C}/join/${enc(roomId)}?server_name=${enc(via.home.serverName)}`);
}

export function publicRoom(party: Party, more: Json = {}): Promise<string> {
  return party.user.createRoom({ preset: "public_chat", ...more });
}

/** A public room of the maker that the joiner is in. */
export async function sharedRoom(maker: Party, joiner: Party, more: Json = {}): Promise<string> {
  const roomId = await publicRoom(maker, more);
  await joinVia(joiner, roomId, maker);
  return roomId;
}

/** The event, once the party's user is shown it. */
export function sees(party: Party, roomId: string, eventId: string, patienceMs = PATIENCE_MS): Promise<Json> {
  return waitFor(`${eventId} at ${party.kind}`, patienceMs, async () => {
    const answer = await party.user.request("GET", room(roomId, `event/${enc(eventId)}`));
    return answer.status === 200 ? (answer.body as Json) : undefined;
  });
}

/** Signs of life, and how long each is given to be noticed. */
export const MOST_SIGNS = 40;
export const SIGN_MS = 6_000;

/** A server that was away gives signs of life: the first may come while the other's last attempt to reach it is still failing. */
export async function hearsAgain(away: Party, present: Party, roomId: string, eventIds: readonly string[]): Promise<void> {
  for (let sign = 1; ; sign++) {
    await away.user.get(`${C}/profile/${enc(present.user.userId)}`);
    await away.user.text(roomId, `here again ${sign}`);
    try {
      for (const eventId of eventIds) await sees(away, roomId, eventId, SIGN_MS);
      return;
    } catch (error) {
      if (sign === MOST_SIGNS) throw error;
    }
  }
}

export async function membership(party: Party, roomId: string, userId: string): Promise<string | undefined> {
  const answer = await party.user.request("GET", room(roomId, `state/m.room.member/${enc(userId)}`));
  return answer.status === 200 ? answer.body.membership : undefined;
}

/** Waits until the party's user sees somebody's membership so. */
export function becomes(party: Party, roomId: string, userId: string, wanted: string): Promise<true> {
  return waitFor(`${userId} is ${wanted} at ${party.kind}`, PATIENCE_MS, async () => ((await membership(party, roomId, userId)) === wanted ? true : undefined));
}

/** The room's forward extremities in the party's database, sorted. */
export async function extremities({ home }: Party, roomId: string): Promise<string[]> {
  const rows = await home.postgres.query<{ event_id: string }>(home.database, "SELECT event_id FROM event_forward_extremities WHERE room_id = $1", [roomId]);
  return rows.map((row) => row.event_id).sort();
}

/** The events of the room's state as the party's user is told, sorted. */
export async function stateOf(party: Party, roomId: string): Promise<string[]> {
  return ((await party.user.get(room(roomId, "state"))) as Json[]).map((event) => event.event_id as string).sort();
}

/** Both come to the same extremities. */
export async function sameExtremities([one, two]: readonly [Party, Party], roomId: string): Promise<void> {
  await waitFor("the same extremities", PATIENCE_MS, async () =>
    JSON.stringify(await extremities(one, roomId)) === JSON.stringify(await extremities(two, roomId)) ? true : undefined,
  );
}

/** Both come to the same extremities, and with them to the same state, as their users are told. */
export async function agree(parties: readonly [Party, Party], roomId: string): Promise<void> {
  await sameExtremities(parties, roomId);
  assert.deepEqual(await stateOf(parties[0], roomId), await stateOf(parties[1], roomId));
}
