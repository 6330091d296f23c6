import { resolve } from "node:path";
import { hash } from "@node-rs/bcrypt";
import { readConfigFiles } from "../../config/load.ts";
import { ConfigReader, ReadTracker } from "../../config/reader.ts";
import { bcryptInput } from "../../services/accounts/passwords.ts";
import { CommandFailed, defineCommand } from "../command.ts";
import type { Terminal } from "../terminal.ts";

export const hashPassword = defineCommand(
  {
    name: "hash_password",
    summary: "Prints the hash of a password, as it stands in the database.",
    flags: {
      password: { names: ["-p", "--password"], value: "PASSWORD", help: "The password; asked for when absent." },
      config: { names: ["-c", "--config"], value: "FILE", required: true, help: "homeserver.yaml, for bcrypt_rounds and password_config.pepper." },
    },
  },
  async (args, terminal) => {
    const { values } = readConfigFiles([resolve(terminal.workingDirectory, args.config!)], terminal.workingDirectory);
    const raw = new ConfigReader(values, new ReadTracker());
    const cost = raw.integer("bcrypt_rounds", 12, { min: 4, max: 31 });
    const pepper = raw.object("password_config").string("pepper", "");
    const password = args.password || (terminal.interactive ? await askNewPassword(terminal) : (await terminal.readLine()).trim());
    const bytes = Buffer.byteLength(password.normalize("NFKC") + pepper);
    if (bytes > 72) terminal.warn(`Password and pepper have ${bytes} bytes; only the first 72 count. Logging in is not affected.`);
    terminal.print(await hash(bcryptInput(password, pepper), { cost }));
  },
);

/** @throws CommandFailed when it is empty or was mistyped */
export async function askNewPassword(terminal: Terminal): Promise<string> {
  const password = await terminal.askSecret("Password: ");
  if (password === "") throw new CommandFailed("Password cannot be blank.");
  if ((await terminal.askSecret("Confirm password: ")) !== password) throw new CommandFailed("Passwords do not match");
  return password;
}
