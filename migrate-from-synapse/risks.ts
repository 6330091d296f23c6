/** How a known risk of the swap is answered: by checks, or not from outside, with the reason and what answers it instead. */
export type Answer = { readonly checks: readonly string[] } | { readonly outside: string };

export interface Risk {
  readonly number: number;
  /** What must hold. */
  readonly what: string;
  readonly answer: Answer;
}

const by = (...checks: string[]): Answer => ({ checks });
const outside = (reason: string): Answer => ({ outside: reason });

/** What can break when another server opens a Synapse database, and when Synapse opens it again; finding ids are `risk-` and the number. */
export const RISKS: readonly Risk[] = (
  [
    ["Postgres is 14 or newer", by("postgres-version")],
    ["The encoding is UTF8", by("encoding")],
    ["Collation and character type are C", by("collation")],
    ["Accounts are of the configured server", by("accounts")],
    ["The schema is open to this server", by("schema-version")],
    ["schema_version is one row, and not too high", by("schema-version")],
    ["Every delta is applied, and noted as such", by("deltas")],
    ["Modules' own tables are known", by("module-schemas")],
    ["Main and state store are one database", by("state-store")],
    ["Tables, sequences, indexes, triggers and keys exist", by("catalogue")],
    ["Transactions are isolated as the code expects", by("settings")],
    ["Timeouts and session settings fit; no pooler mixes them", by("settings")],
    ["bytea and jsonb columns are those", by("catalogue")],
    ["Booleans and numbers have their types", by("catalogue")],
    ["No second server is at work", by("live-server")],
    ["Sequences are not behind stored positions", by("sequences")],
    ["Sequences are not behind their tables", by("sequences")],
    ["Sequences of streams were called", by("sequences")],
    ["Rows are written by configured instances", by("writers")],
    ["Stored positions of writers are up to date", by("stream-positions")],
    ["No positions of unknown writers are stored", by("stream-positions")],
    ["Ids become visible in order", outside("a property of the running program; tests of stream-ids with many writers")],
    ["Sequences of state groups, chains and transactions are ahead", by("sequences")],
    ["Ids taken from MAX(id) in memory have one taker", by("live-server")],
    ["Identity columns number themselves", by("catalogue")],
    ["Streams with int4 ids have room left", by("sequences")],
    ["Sequences did not go back at a fail-over", by("sequences")],
    ["Numbers of instances in tokens keep their names", by("instance-numbers")],
    ["Backfilled events and their positions are negative", by("stream-positions")],
    ["Sync tokens have fields that the other server reads", by("sync-tokens")],
    ["Room positions inside tokens are read both ways", outside("tokens are with the clients; tests read recorded ones")],
    ["Sliding sync positions are taken over", outside("they are with the clients; tests swap servers under a connection")],
    ["Access tokens belong to accounts", by("access-tokens")],
    ["The secret of macaroons stays the same", by("secrets")],
    ["Password hashes can be checked", by("accounts", "password-options")],
    ["The secret of forms stays the same", by("secrets")],
    ["Identity providers keep their ids", by("identity-providers")],
    ["Flows in progress are finished or begun again", by("flows")],
    ["The signing key is the one that events are signed with", by("signing-key")],
    ["Hidden and dehydrated devices stay what they are", outside("it is about what the program lists and deletes; tests of devices")],
    ["One-time keys are given out once", outside("a property of the running program; tests with concurrent claims")],
    ["A send that is repeated over the swap gives one event", outside("it needs the client's repetition; tests repeat one over a swap")],
    ["Limits on active users hold", by("monthly-active-users")],
    ["Flags of accounts are read as written", by("accounts")],
    ["Profiles and filters name their users in full", by("profiles")],
    ["Event JSON hashes to the event's id, signatures hold", by("event-sample", "signatures")],
    ["No U+0000 reaches a text column", outside("Postgres refuses it, so none can be there; tests send it")],
    ["Event formats and room versions agree, and are known", by("room-versions", "event-sample")],
    ["Rooms have their rows", by("rooms")],
    ["internal_metadata has known keys", by("event-sample")],
    ["Events have their state groups, outliers none", by("state-groups")],
    ["Rejected events are marked in both places", by("rejections")],
    ["Rooms have good forward extremities, and few", by("extremities")],
    ["Edges and auth events are those of the JSON", by("event-sample")],
    ["Current state has its positions and memberships", by("derived-rows", "current-state")],
    ["Positions copied from events are the events'", by("copied-orderings", "catalogue")],
    ["Changes of state lead to the current state", by("state-changes")],
    ["Extremities of new events are noted", by("extremity-history")],
    ["State events are in the chain cover, and it reaches", by("chain-cover", "chain-cover-reach")],
    ["Depths are within bounds", by("depths")],
    ["Redacted content is taken away", by("redactions")],
    ["No room waits for its whole state", by("partial-state")],
    ["Derived rows of events are there", by("derived-rows")],
    ["Rows are inserted in an order that foreign keys bear", outside("a property of the running program; Postgres itself refuses another")],
    ["Chains of state groups are short", by("state-group-chains")],
    ["State groups build on one older group of their room", by("state-group-chains")],
    ["State groups resolve to the current state", by("current-state")],
    ["State groups in use are not about to be deleted", by("state-group-deletion")],
    ["Compressed state is read as any other", by("table-sizes")],
    ["Background updates that wait are known", by("background-updates")],
    ["Unique indexes that writers rely on are made", by("background-updates")],
    ["No server is alive on the database", by("live-server")],
    ["Locks left behind are old", by("locks")],
    ["Tasks that wait are known; their table is unchanged", by("scheduled-tasks", "additions")],
    ["Delayed events that wait are known", by("in-flight")],
    ["Others' tables, keys and triggers do not stand in the way", by("additions")],
    ["Tables of one row have one", by("followers")],
    ["Push counts follow their streams", by("followers")],
    ["No prepared notification is left over", by("in-flight")],
    ["Receipts are single, and know their events' positions", by("receipts")],
    ["Sliding sync's tables follow the events", by("sliding-sync")],
    ["Sliding sync forgets what users forgot", by("sliding-sync")],
    ["Sliding sync's connections are sound", by("sliding-sync-connections")],
    ["User directory and statistics follow their stream", by("followers")],
    ["Application services' positions and transactions are sound", by("appservices")],
    ["Positions of federation senders fit the configuration", by("federation-positions")],
    ["What other servers have got is behind the stream", by("federation-positions")],
    ["Changes of devices are told to other servers", by("device-lists")],
    ["Other servers' device lists are kept whole", outside("only their servers know what is right; tests with a federating peer")],
    ["Messages between devices stay until acknowledged", outside("it needs the device's next sync; tests kill the server between")],
    ["Events from other servers that wait are taken in", by("in-flight")],
    ["Statistics are counted right", by("statistics")],
    ["Account data, tags and push rules have stream rows", outside("a missing row cannot be told from no change; tests follow each change by sync")],
    ["Profile updates are kept only when configured", by("profile-updates")],
    ["Media files are there, and are what the rows say", by("media-files")],
    ["Caches are not stale: one server writes", by("live-server")],
    ["Each option is honoured, or named", by("options")],
    ["Modules are replaced, or named", by("modules")],
    ["A restore or a port has not put sequences back", by("sequences")],
    ["Clocks agree, and times have their units", by("clock", "accounts")],
    ["Invites keep the state of their rooms", by("invite-state")],
    ["Purged rooms have left nothing", by("purged-rooms")],
  ] as const
).map(([what, answer], index) => ({ number: index + 1, what, answer }));

/** The table of the README. */
export function riskTable(): string {
  const rows = RISKS.map(({ number, what, answer }) => {
    const how = "checks" in answer ? answer.checks.map((name) => `\`${name}\``).join(", ") : `not from outside: ${answer.outside}`;
    return `| ${number} | ${what} | ${how} |`;
  });
  return ["| risk | what must hold | answered by |", "| --- | --- | --- |", ...rows].join("\n");
}
