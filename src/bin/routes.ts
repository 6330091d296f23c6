import { routes } from "../handlers/routes.ts";

// One JSON object a line for each method and concrete path, parameters as {name}: the form of `paths` in Synapse's endpoint list.
for (const { servlet, methods, paths } of routes) {
  for (const method of methods) {
    for (const path of paths) {
      process.stdout.write(JSON.stringify({ method, path: path.replace(/[:*]([A-Za-z]\w*(?:=[^/]+(?:\/\*)?)?)/g, "{$1}"), servlet }) + "\n");
    }
  }
}
