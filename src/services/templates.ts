import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import nunjucks from "nunjucks";
import { addJinjaFilters, JinjaLoader } from "./jinja.ts";

/** The folder `templates/` of the package, from the source tree as well as from the build. */
function ownFolder(): string {
  for (let folder = path.dirname(fileURLToPath(import.meta.url)); folder !== path.dirname(folder); folder = path.dirname(folder)) {
    if (existsSync(path.join(folder, "templates", "_base.html"))) return path.join(folder, "templates");
  }
  throw new Error("The folder templates/ of the installation is missing");
}

/** HTML that a template shows as it is: whoever makes it has escaped what others wrote. */
export const markup = (html: string): unknown => new nunjucks.runtime.SafeString(html);

/** What all templates know of the server. */
export interface TemplateGlobals {
  readonly serverName: string;
  /** With a trailing slash. */
  readonly publicBaseurl: string;
}

/**
 * HTML pages and mails by name: the admin's templates (`templates.custom_template_directory`, then the feature's own directory) before
 * those of the package. All know `server_name` and Synapse's filters.
 */
export class Templates {
  private readonly environments = new Map<string, nunjucks.Environment>();

  /** @param custom the admin's directory, searched first */
  constructor(
    private readonly custom: string | undefined,
    private readonly globals: TemplateGlobals,
  ) {}

  /** Renders a template; values are escaped in HTML, left alone in text. `folder` is the feature's own directory. */
  render(name: string, values: Readonly<Record<string, unknown>> = {}, folder?: string): string {
    const folders = [this.custom, folder, ownFolder()].filter((entry) => entry !== undefined);
    return this.environment(!name.endsWith(".txt"), folders).render(name, values);
  }

  /** Whether `render` takes the admin's template of this name. */
  isCustom(name: string, folder?: string): boolean {
    return [this.custom, folder].some((entry) => entry !== undefined && existsSync(path.join(entry, name)));
  }

  /** Renders a page that only the admin can write, from that directory alone; undefined when it is not there. */
  renderOwn(folder: string, name: string, values: Readonly<Record<string, unknown>> = {}): string | undefined {
    if (!existsSync(path.join(folder, name))) return undefined;
    return this.environment(true, [folder]).render(name, values);
  }

  private environment(autoescape: boolean, folders: readonly string[]): nunjucks.Environment {
    const key = [autoescape, ...folders].join("\0");
    let environment = this.environments.get(key);
    if (environment === undefined) {
      environment = new nunjucks.Environment(new JinjaLoader([...folders]), { autoescape });
      environment.addGlobal("server_name", this.globals.serverName);
      addJinjaFilters(environment, this.globals.publicBaseurl);
      this.environments.set(key, environment);
    }
    return environment;
  }
}
