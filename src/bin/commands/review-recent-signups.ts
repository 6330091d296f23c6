import { readConfigFiles } from "../../config/load.ts";
import { parseDuration } from "../../config/units.ts";
import { systemClock } from "../../lib/clock.ts";
import { UsageError } from "../../lib/command-line.ts";
import { silentLogger } from "../../lib/log.ts";
import { recentSignups, type Signup } from "../../storage/admin/signups.ts";
import { defineCommand } from "../command.ts";
import { databasePlace, withDatabase } from "../connect-database.ts";

export const reviewRecentSignups = defineCommand(
  {
    name: "synapse_review_recent_signups",
    summary: "Lists the accounts of the last days with what helps to tell people from spammers.",
    flags: {
      configPath: {
        names: ["-c", "--config-path"],
        value: "CONFIG_FILE",
        many: true,
        required: true,
        help: "homeserver.yaml, which says where the database is.",
      },
      since: { names: ["-s", "--since"], value: "DURATION", help: "How far to look back, such as 12h. Default: 7d" },
      excludeEmails: { names: ["-e", "--exclude-emails"], help: "Leave out accounts with a verified e-mail address." },
      onlyUsers: { names: ["-u", "--only-users"], help: "Print the user ids alone, for another program." },
      excludeAppService: { names: ["-a", "--exclude-app-service"], help: "Leave out accounts of application services." },
    },
  },
  async (args, terminal) => {
    const back = parseDuration(args.since ?? "7d");
    if (back === undefined) throw new UsageError(`--since: found ${args.since}, wanted a duration such as 12h, 7d or 2w`);
    const { values } = readConfigFiles(args.configPath, terminal.workingDirectory);
    const since = Math.floor((systemClock.now() - back) / 1000);
    const signups = await withDatabase(databasePlace(values, terminal), silentLogger, (db) => recentSignups(db.read, since, args.excludeAppService));
    for (const signup of signups) {
      if (args.excludeEmails && signup.emails.length > 0) continue;
      if (!args.onlyUsers) for (const line of description(signup)) terminal.print(line);
      terminal.print(signup.userId);
      if (!args.onlyUsers) terminal.print("");
    }
  },
);

/** In the form of Synapse's command, which scripts may read. */
function description({ createdAt, emails, ips, publicRooms, privateRooms }: Signup): string[] {
  const named = publicRooms.length === 0 ? "" : `(${publicRooms.slice(0, 3).join(", ")}${publicRooms.length > 3 ? ", ..." : ""})`;
  return [
    `# Created: ${new Date(createdAt * 1000).toLocaleString("sv-SE")}`,
    `# Email: ${emails.join(", ") || "None"}`,
    `# IPs: ${ips.join(", ")}`,
    `# Number joined public rooms: ${publicRooms.length} ${named}`,
    `# Number joined private rooms: ${privateRooms.length}`,
    "#",
  ];
}
