import assert from "node:assert/strict";
import { commands } from "./commands/all.ts";
import { homeserverSpec } from "./commands/homeserver.ts";

/** What the commands of Synapse 1.160 take: `=` a value, `+` several times, `!` needed, `?` may be left out. */
const SYNAPSE: Readonly<Record<string, string>> = {
  synapse_homeserver:
    "-c|--config-path=+ --no-secrets-in-config --generate-mode= --generate-config --generate-missing-configs|--generate-keys --generate-missing-and-run -H|--server-name= --report-stats= --config-directory|--keys-directory= --data-directory= --open-private-ports --enable-metrics -D|--daemonize --print-pidfile --manhole= -d|--database-path= -n|--no-redirect-stdio -f|--log-file= --enable-registration",
  synapse_worker:
    "-c|--config-path=+ --keys-directory= --no-secrets-in-config -D|--daemonize --print-pidfile --manhole= -d|--database-path= -n|--no-redirect-stdio -f|--log-file= --enable-registration",
  synctl: "action configfile? -w|--worker= -a|--all-processes= --no-daemonize",
  export_signing_key: "key_file -x --expiry-ts=",
  generate_config: "--config-dir= --data-dir= --server-name= --report-stats= --generate-secrets -o|--output-file= --header-file=",
  generate_log_config: "-o|--output-file= -f|--log-file=",
  generate_signing_key: "-o|--output_file=",
  hash_password: "-p|--password= -c|--config=!",
  register_new_matrix_user:
    "-u|--user= --exists-ok -p|--password= --password-file= -t|--user_type= -a|--admin --no-admin -c|--config=+ -k|--shared-secret= server_url?",
  synapse_review_recent_signups: "-c|--config-path=+! -s|--since= -e|--exclude-emails -u|--only-users -a|--exclude-app-service",
  update_synapse_database: "-v --database-config=! --run-background-updates",
};

describe("command lines of Synapse", () => {
  for (const [name, line] of Object.entries(SYNAPSE)) {
    it(`${name} takes`, () => {
      const isServer = name === "synapse_homeserver" || name === "synapse_worker";
      const spec = isServer ? homeserverSpec : commands.find((command) => command.spec.name === name)?.spec;
      assert.ok(spec !== undefined, "there is no such command");
      const flags = Object.values(spec.flags).map((flag) => {
        const { names, value, many, required } = flag as { names: readonly string[]; value?: string; many?: boolean; required?: boolean };
        return { names, marks: `${value === undefined ? "" : "="}${many === true ? "+" : ""}${required === true ? "!" : ""}` };
      });
      const positionals = ("positionals" in spec ? (spec.positionals ?? []) : []).map((one) => `${one.name}${one.count === "?" ? "?" : ""}`);
      for (const wanted of line.split(" ")) {
        if (!wanted.startsWith("-")) {
          assert.ok(positionals.includes(wanted), wanted);
          continue;
        }
        const [, spellings, marks] = /^(.*?)([=+!]*)$/.exec(wanted)!;
        const flag = flags.find(({ names }) => spellings!.split("|").every((spelling) => names.includes(spelling)));
        assert.equal(flag?.marks, marks, wanted);
      }
    });
  }
});
