import { FILE_STORAGE, namedModules } from "../../src/config/named-modules.ts";
import type { ConfigCheck, ConfigContext } from "../context.ts";
import { blocker, count, type Draft, note, ok, warning } from "../finding.ts";
import { fateOf, whatIsMissed } from "../modules.ts";

/** Risk 97: what becomes of each option. */
const options: ConfigCheck = {
  name: "options",
  risks: [97],
  only: "myelin",
  run(ctx) {
    const found: Draft[] = [];
    const of = (use: string): string[] => ctx.options.filter((each) => each.use === use).map(({ path }) => path);
    for (const { path, use, reason } of ctx.options) {
      if (use !== "no-effect") continue;
      found.push(
        note("risk-97", {
          what: `${path} has no effect in Myelin`,
          why: upper(reason ?? "It means nothing outside Synapse"),
          todo: "Nothing; it may stay for Synapse.",
        }),
      );
    }
    const unknown = of("unknown");
    if (unknown.length > 0) {
      found.push(
        note("risk-97", {
          what: `${count(unknown.length, "option is", "options are")} unknown and without effect`,
          why: "Synapse 1.160 passes over them as well: a misspelling, an option of a later or much older Synapse, or another program's.",
          todo: "Correct or remove what is misspelt; look the others up.",
          examples: unknown,
        }),
      );
    }
    for (const text of aboutValues(ctx))
      found.push(note("risk-97", { what: text, why: "Myelin says so at each start.", todo: "Change the configuration, or live with it." }));
    found.push(ok("risk-97", `${count(of("honoured").length + of("idle").length, "option")} of the configuration mean to Myelin what they mean to Synapse`));
    return found;
  },
};

/** What the configuration's parser has to say beside options that are not honoured. */
function aboutValues({ config, options: uses }: ConfigContext): string[] {
  const own = new Set(uses.map(({ path }) => path));
  return config.notices.filter((text) => !/ (?:has no effect: |is unknown and has no effect$)/.test(text) || !own.has(text.split(" ")[0]!));
}

/** Risk 98. */
const modules: ConfigCheck = {
  name: "modules",
  risks: [98],
  run({ config, target }) {
    const all = namedModules(config).filter(({ module }) => module !== FILE_STORAGE);
    const { folder } = config.modules;
    const fates = all.map((each) => ({ ...each, fate: fateOf(each.module, folder) }));
    if (target === "synapse") {
      const foreign = fates.filter(({ fate }) => fate === "javascript");
      if (foreign.length === 0) return [ok("risk-98", all.length === 0 ? "No modules are configured" : "No module is JavaScript")];
      const examples = foreign.map(({ module, path }) => `${module} (${path})`);
      return [
        blocker("risk-98", {
          what: `${count(foreign.length, "module is", "modules are")} JavaScript`,
          why: "Synapse does not start with them.",
          todo: "Name the Python modules again that stood there.",
          examples,
        }),
      ];
    }
    if (all.length === 0) return [ok("risk-98", "No modules are configured")];
    return fates.map(({ module, path, fate }): Draft => {
      const examples = [path];
      if (fate === "stand-in") {
        return note("risk-98", {
          what: `For the module ${module} Myelin has a stand-in`,
          why: "It takes the same options and does the same.",
          todo: "Try it with one account before everybody does.",
          examples,
        });
      }
      if (fate === "javascript") {
        return note("risk-98", {
          what: `The module ${module} is JavaScript, and is there`,
          why: "Myelin loads it; Synapse would not.",
          todo: "Nothing.",
          examples,
        });
      }
      return blocker("risk-98", {
        what: `For the module ${module} Myelin has nothing`,
        why: `Python does not run here: Myelin does not start, or starts without it and ${whatIsMissed(module) ?? "what it did is not done"}.`,
        todo: "Name a JavaScript module instead, take it out, or start with --allow-missing-modules to go without.",
        examples,
      });
    });
  },
};

/** Risks 34 and 36: with other secrets, links and tokens that were handed out are worth nothing. */
const secrets: ConfigCheck = {
  name: "secrets",
  risks: [34, 36],
  run({ config, raw }) {
    const found: Draft[] = [];
    const has = (key: string): boolean => Boolean(raw[key] ?? raw[`${key}_path`]);
    if (has("macaroon_secret_key")) found.push(ok("risk-34", "macaroon_secret_key is set: guests' tokens and links in mails stay good"));
    else {
      const source = has("registration_shared_secret") ? "registration_shared_secret" : "the signing key";
      found.push(
        note("risk-34", {
          what: `macaroon_secret_key is not set; ${source} stands in for it`,
          why: "Guests' tokens and links in mails are signed with it, by Synapse and by Myelin in the same way.",
          todo: `Do not change ${source} during the swap.`,
        }),
      );
    }
    if (config.key.formSecret !== undefined) found.push(ok("risk-36", "form_secret is set: links for consent and unsubscribing stay good"));
    else {
      found.push(
        note("risk-36", {
          what: "form_secret is not set",
          why: "Synapse makes one up at each start: links for consent and unsubscribing in old mails are dead already.",
          todo: "Nothing, unless you want such links to last; then set it.",
        }),
      );
    }
    return found;
  },
};

/** Risk 35, the part that stands in the configuration. */
const passwords: ConfigCheck = {
  name: "password-options",
  risks: [35],
  run({ config }) {
    const { auth } = config;
    if (!auth.passwordLocaldbEnabled) {
      const todo = "Make sure that something else checks passwords, or set `password_config.localdb_enabled: true`.";
      return [
        warning("risk-35", {
          what: "Passwords of this database are not used (password_config.localdb_enabled: false)",
          why: "Who signs in is decided by modules, which Myelin does not run.",
          todo,
        }),
      ];
    }
    return [ok("risk-35", auth.passwordPepper === "" ? "Passwords are hashed without a pepper" : "The pepper of the passwords is in the configuration")];
  },
};

/** Risk 9: refused while the configuration is read. */
const stateStore: ConfigCheck = {
  name: "state-store",
  risks: [9],
  only: "myelin",
  run: () => [ok("risk-09", "The main and the state store are in one database")],
};

const registrations: ConfigCheck = {
  name: "appservice-files",
  risks: [],
  run({ config }) {
    const services = config.appservice.registrations;
    if (services.length === 0) return [ok("appservices", "No application services are configured")];
    const silent = services.filter(({ url }) => url === undefined).map(({ id }) => id);
    const text = `${count(services.length, "registration file")} of application services can be read: ${services.map(({ id }) => id).join(", ")}`;
    return [ok("appservices", silent.length === 0 ? text : `${text} (${silent.join(", ")} without an address)`)];
  },
};

const rollbackOptions: ConfigCheck = {
  name: "rollback-options",
  risks: [],
  only: "synapse",
  run({ config, raw }) {
    const found: Draft[] = [];
    if (config.myelin.embeddedPostgres !== undefined) {
      found.push(
        blocker("embedded-postgres", {
          what: "The database is a Postgres that Myelin starts for itself (myelin.embedded_postgres)",
          why: "Synapse finds no `database` in the configuration.",
          todo: "Dump it with pg_dump while Myelin runs, load the dump into a Postgres of its own (UTF8, collation C), and set `database`.",
        }),
      );
    }
    if (raw["myelin"] !== undefined) found.push(ok("myelin-options", "Synapse passes over the options under `myelin`"));
    return found;
  },
};

const upper = (text: string): string => text[0]!.toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");

export const configurationChecks: readonly ConfigCheck[] = [options, modules, secrets, passwords, stateStore, registrations, rollbackOptions];
