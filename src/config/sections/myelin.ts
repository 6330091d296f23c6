import type { ConfigReader, ParseContext } from "../reader.ts";

/** Myelin's own options, under one key that Synapse ignores (`myelin`). */
export type MyelinConfig = ReturnType<typeof parseMyelin>;

export function parseMyelin(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("myelin");
  return {
    /** Folder of a Postgres that is started and stopped with the server, instead of `database`. */
    embeddedPostgres: raw.filePath("embedded_postgres", ctx),
    /** Start although clients are connected to the database that look like a Synapse at work. */
    allowOtherClients: raw.boolean("allow_other_clients", false),
    /** Stores the states of rooms with fewer rows, a little each hour; undefined: not. */
    stateCompression: parseStateCompression(raw),
    search: {
      /** Keeps an index of its own for messages in Chinese, Japanese, Korean, Thai and others whose words no spaces part. */
      unspacedLanguages: raw.object("search").boolean("unspaced_languages", false),
    },
    /** Codes that verify phone numbers are sent through this provider; undefined: not by this server. */
    sms: parseSms(raw.optionalObject("sms")),
    /** What `/.well-known/matrix/support` says; undefined: nothing. */
    wellKnownSupport: parseSupport(raw.optionalObject("well_known_support")),
  };
}

/** Whom to turn to about this server (client-server API, "Getting homeserver contacts and support details"). */
function parseSupport(raw: ConfigReader | undefined) {
  if (raw === undefined) return undefined;
  const contacts = raw.objects("contacts").map((contact) => {
    const [matrixId, email] = [contact.string("matrix_id"), contact.string("email_address")];
    if (matrixId === undefined && email === undefined) throw contact.error("matrix_id", "is missing, and so is email_address: one of them is needed");
    return {
      ...(matrixId !== undefined && { matrix_id: matrixId }),
      ...(email !== undefined && { email_address: email }),
      role: contact.string("role", "m.role.admin"),
    };
  });
  const page = raw.string("support_page");
  if (contacts.length === 0 && page === undefined) throw raw.error("contacts", "is missing or empty, and so is support_page: one of them is needed");
  return { ...(contacts.length > 0 && { contacts }), ...(page !== undefined && { support_page: page }) };
}

/** `true`, or a mapping of what differs from the defaults. */
function parseStateCompression(root: ConfigReader) {
  if (root.raw("state_compression") === true) return STATE_COMPRESSION;
  if ([false, undefined, null].includes(root.raw("state_compression") as boolean | undefined | null)) return undefined;
  const raw = root.object("state_compression");
  const { chunkSize, chunks } = STATE_COMPRESSION;
  return {
    chunkSize: raw.integer("chunk_size", chunkSize, { min: 1 }),
    chunks: raw.integer("chunks_to_compress", chunks, { min: 1 }),
  };
}

/** State groups looked at together; such chunks each hour. */
const STATE_COMPRESSION = { chunkSize: 500, chunks: 20 };

/** An SMS provider with an HTTP interface. In `fields`, %(number)s, %(digits)s and %(text)s stand for what differs by message. */
function parseSms(raw: ConfigReader | undefined) {
  if (raw === undefined) return undefined;
  const url = raw.requiredString("url");
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw raw.wrong("url", "an http or https URL");
  const fields = raw.stringMap("fields");
  return {
    url,
    method: raw.oneOf("method", ["POST", "GET"], "POST"),
    headers: raw.stringMap("headers"),
    format: raw.oneOf("format", ["json", "form", "query"], "json"),
    fields: Object.keys(fields).length === 0 ? { to: "%(number)s", text: "%(text)s" } : fields,
    /** The message; %(code)s stands for the code, %(app)s and %(server_name)s for their names. */
    text: raw.string("text", "%(code)s is your code for %(app)s."),
    codeLifetimeMs: raw.duration("code_lifetime", "15m"),
  };
}
