import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import nunjucks from "nunjucks";

/** The folder `templates/` of the package, from the source tree as well as from the build. */
function ownFolder(): string {
  for (let folder = path.dirname(fileURLToPath(import.meta.url)); folder !== path.dirname(folder); folder = path.dirname(folder)) {
    if (existsSync(path.join(folder, "templates", "_base.html"))) return path.join(folder, "templates");
  }
  throw new Error("The folder templates/ of the installation is missing");
}

/** Reads Jinja2 templates that admins wrote for Synapse: `include ... without context`, which they copied, is unknown to nunjucks. */
class JinjaLoader extends nunjucks.FileSystemLoader {
  override getSource(name: string): nunjucks.LoaderSource {
    const source = super.getSource(name);
    return source === null ? source : { ...source, src: source.src.replace(/(\{%-?\s*include\b[^%]*?)\s+with(?:out)?\s+context(\s*-?%\})/g, "$1$2") };
  }
}

/**
 * HTML pages and mails by name: the admin's templates (`templates.custom_template_directory`, then the feature's own directory) before
 * those of the package.
 */
export class Templates {
  private readonly environments = new Map<string, nunjucks.Environment>();

  /** @param custom the admin's directory, searched first */
  constructor(private readonly custom: string | undefined) {}

  /** Renders a template; values are escaped in HTML, left alone in text. `folder` is the feature's own directory. */
  render(name: string, values: Readonly<Record<string, unknown>> = {}, folder?: string): string {
    return this.environment(!name.endsWith(".txt"), folder).render(name, values);
  }

  private environment(autoescape: boolean, folder: string | undefined): nunjucks.Environment {
    const key = `${autoescape}\0${folder ?? ""}`;
    let environment = this.environments.get(key);
    if (environment === undefined) {
      const folders = [this.custom, folder, ownFolder()].filter((entry) => entry !== undefined);
      environment = new nunjucks.Environment(new JinjaLoader(folders), { autoescape });
      this.environments.set(key, environment);
    }
    return environment;
  }
}
