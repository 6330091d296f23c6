import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import type { ConfigCheck } from "../context.ts";
import { blocker, type Draft, ok, warning } from "../finding.ts";

async function problemOf(path: string, mode: number): Promise<string | undefined> {
  try {
    await access(path, mode);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

const mediaFolder: ConfigCheck = {
  name: "media-folder",
  risks: [],
  async run({ config }) {
    const folder = config.media.mediaStorePath;
    if (!config.media.enableLocalMediaStorage) return [ok("media-folder", "No media is kept on this machine")];
    const info = await stat(folder).catch(() => undefined);
    if (info === undefined) {
      return [
        warning("media-folder", {
          what: `The media store ${folder} does not exist`,
          why: "It is made at the start, and is empty then: right for a new server, while media uploaded before would be gone.",
          todo: "Unless the server is new, mount or copy it, or correct `media_store_path`; relative paths count from the folder in which the server is started.",
        }),
      ];
    }
    if (!info.isDirectory())
      return [
        blocker("media-folder", {
          what: `The media store ${folder} is no folder`,
          why: "No media could be served or stored.",
          todo: "Correct `media_store_path`.",
        }),
      ];
    const problem = await problemOf(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    if (problem !== undefined) {
      return [
        warning("media-folder", {
          what: `The media store ${folder} may not be read and written by this user (${problem})`,
          why: "Run by the same user, Myelin could not serve or store media.",
          todo: "Run Myelin (and this check) as the user that runs Synapse.",
        }),
      ];
    }
    return [ok("media-folder", `The media store ${folder} can be read and written`)];
  },
};

const ownFiles: ConfigCheck = {
  name: "files",
  risks: [],
  async run({ config, files }) {
    const found: Draft[] = [];
    const wanted: (readonly [what: string, path: string | undefined, option: string])[] = [
      ["The log configuration", config.logging.configPath, "log_config"],
      ["The certificate", config.tls.files?.certificatePath, "tls_certificate_path"],
      ["The certificate's key", config.tls.files?.privateKeyPath, "tls_private_key_path"],
      ["The folder of templates", config.server.customTemplateDirectory, "templates.custom_template_directory"],
    ];
    for (const [what, path, option] of wanted) {
      if (path === undefined) continue;
      const problem = await problemOf(path, constants.R_OK);
      if (problem === undefined) continue;
      found.push(
        blocker("files", {
          what: `${what} ${path} cannot be read (${problem})`,
          why: "The server does not start without it.",
          todo: `Correct \`${option}\`, or the rights of the file.`,
        }),
      );
    }
    return found.length > 0
      ? found
      : [
          ok(
            "files",
            `All files that the configuration names can be read (${files.length === 1 ? "1 configuration file" : `${files.length} configuration files`})`,
          ),
        ];
  },
};

export const fileChecks: readonly ConfigCheck[] = [mediaFolder, ownFiles];
