import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { resolve } from "node:path";
import { readConfigFiles, type RawConfig } from "../../config/load.ts";
import { ConfigReader, ReadTracker } from "../../config/reader.ts";
import { CommandFailed, defineCommand } from "../command.ts";
import type { Terminal } from "../terminal.ts";
import { askNewPassword } from "./hash-password.ts";

const DEFAULT_SERVER_URL = "http://localhost:8008";

export const registerNewMatrixUser = defineCommand(
  {
    name: "register_new_matrix_user",
    summary: "Makes an account, also where registration is closed; the server must run and have a registration_shared_secret.",
    flags: {
      user: { names: ["-u", "--user"], value: "USER", help: "Localpart of the new user; asked for when absent." },
      existsOk: { names: ["--exists-ok"], help: "Do not fail when the user exists." },
      password: { names: ["-p", "--password"], value: "PASSWORD", help: "The password; asked for when absent." },
      passwordFile: { names: ["--password-file"], value: "FILE", help: "A file with the password." },
      userType: { names: ["-t", "--user_type"], value: "TYPE", help: "User type, such as bot or support." },
      admin: { names: ["-a", "--admin"], help: "Make the user a server admin; asked for when neither this nor --no-admin is given." },
      noAdmin: { names: ["--no-admin"], help: "Make a normal user." },
      config: { names: ["-c", "--config"], value: "FILE", many: true, help: "homeserver.yaml, for the shared secret and the server's port." },
      sharedSecret: { names: ["-k", "--shared-secret"], value: "SECRET", help: "The registration_shared_secret." },
    },
    positionals: [{ name: "server_url", count: "?", help: `Where the server is; by default from the configuration, else ${DEFAULT_SERVER_URL}.` }],
    exclusive: [
      ["password", "passwordFile"],
      ["admin", "noAdmin"],
      ["config", "sharedSecret"],
    ],
  },
  async (args, terminal) => {
    if (args.config.length === 0 && args.sharedSecret === undefined) throw new CommandFailed("register_new_matrix_user: give --config or --shared-secret");
    const values = args.config.length === 0 ? undefined : readConfigFiles(args.config, terminal.workingDirectory).values;
    const secret = args.sharedSecret ?? configuredSecret(values!, terminal);
    const server = args.positionals[0] ?? serverUrl(values, terminal);
    const fromFile = args.passwordFile === undefined ? undefined : readFileSync(resolve(terminal.workingDirectory, args.passwordFile), "utf8").trim();
    const user = args.user || (await askUser(terminal));
    const password = fromFile || args.password || (await askNewPassword(terminal));
    const admin = args.admin || (!args.noAdmin && /^(y|yes|true)$/.test(await terminal.ask("Make admin [no]: ")));
    await register(terminal, server, secret, { user, password, admin, userType: args.userType }, args.existsOk);
  },
);

function configuredSecret(values: RawConfig, terminal: Terminal): string {
  const raw = new ConfigReader(values, new ReadTracker());
  const secret = raw.secret("registration_shared_secret", "registration_shared_secret_path", {
    allowSecretsInConfig: true,
    dataDir: terminal.workingDirectory,
  });
  if (!secret) throw new CommandFailed("No 'registration_shared_secret' or 'registration_shared_secret_path' defined in config.");
  return secret;
}

function serverUrl(values: RawConfig | undefined, terminal: Terminal): string {
  const found = values === undefined ? undefined : clientListener(values);
  if (found !== undefined) return found;
  terminal.warn(`There is no listener for clients to be found in a configuration; trying ${DEFAULT_SERVER_URL}`);
  return DEFAULT_SERVER_URL;
}

/** The address of the first plain HTTP listener that serves clients. */
function clientListener(values: RawConfig): string | undefined {
  const raw = new ConfigReader(values, new ReadTracker());
  const listener = raw.objects("listeners").find((reader) => {
    const serves = reader.objects("resources").some((resource) => resource.strings("names").includes("client"));
    return reader.string("type") === "http" && !reader.boolean("tls", false) && reader.port("port") !== undefined && serves;
  });
  if (listener === undefined) return undefined;
  const addresses = listener.strings("bind_addresses");
  const isLocal = addresses.length === 0 || addresses.some((address) => ["", "::", "0.0.0.0", "::1", "127.0.0.1", "localhost"].includes(address));
  const host = isLocal ? "localhost" : addresses[0]!.includes(":") ? `[${addresses[0]}]` : addresses[0]!;
  return `http://${host}:${listener.port("port")}`;
}

async function askUser(terminal: Terminal): Promise<string> {
  const fallback = userInfo().username;
  const user = (await terminal.ask(`New user localpart [${fallback}]: `)) || fallback;
  if (user === "") throw new CommandFailed("Invalid user name");
  return user;
}

interface NewUser {
  readonly user: string;
  readonly password: string;
  readonly admin: boolean;
  readonly userType: string | undefined;
}

/** Registers through the admin API with the shared secret. @throws CommandFailed with the server's answer */
async function register(terminal: Terminal, server: string, secret: string, account: NewUser, existsOk: boolean): Promise<void> {
  const url = `${server.replace(/\/+$/, "")}/_synapse/admin/v1/register`;
  const { nonce } = (await request(url, { method: "GET" })).body as { nonce: string };
  const { user, password, admin, userType } = account;
  const fields = [nonce, user, password, admin ? "admin" : "notadmin", ...(userType ? [userType] : [])];
  const mac = createHmac("sha1", secret).update(fields.join("\0")).digest("hex");
  terminal.print("Sending registration request...");
  const body = JSON.stringify({ nonce, username: user, password, mac, admin, user_type: userType ?? null });
  const answer = await request(url, { method: "POST", body, headers: { "Content-Type": "application/json" } }, existsOk ? "M_USER_IN_USE" : undefined);
  terminal.print(answer.ok ? "Success!" : "User already exists. Skipping.");
}

async function request(url: string, init: RequestInit, allowed?: string): Promise<{ ok: boolean; body: unknown }> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    const cause = (error as Error).cause;
    throw new CommandFailed(`ERROR! No answer from ${url}: ${cause instanceof Error ? cause.message || String(cause) : String(error)}`);
  }
  const body = (await response.json().catch(() => ({}))) as { errcode?: string; error?: string };
  if (!response.ok && (allowed === undefined || body.errcode !== allowed)) {
    throw new CommandFailed(`ERROR! Received ${response.status} ${response.statusText}${body.error === undefined ? "" : `\n${body.error}`}`);
  }
  return { ok: response.ok, body };
}
