import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { readDockerfile, buildImageTree, type ImageTree } from "./image-tree.ts";
import { buildDebianPackage } from "./debian-package.ts";
import { ScratchSystem } from "./scratch-system.ts";
import { createTestDatabase, type TestDatabase } from "../src/testing/database.ts";
import { parseConfig } from "../src/config/config.ts";

const here = path.dirname(fileURLToPath(import.meta.url));
const context = path.dirname(here);
const text = (file: string): string => readFileSync(path.join(here, file), "utf8");
const found = (program: string): boolean => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;

describe("packages", function () {
  this.timeout(240_000);

  describe("the image", () => {
    let tree: ImageTree | undefined;
    let database: TestDatabase;
    let data: string;
    const children: ChildProcess[] = [];
    before(async () => {
      data = mkdtempSync(path.join(tmpdir(), "myelin-volume-"));
      database = await createTestDatabase();
      tree = buildImageTree(context, path.join(here, "Dockerfile"));
    });
    after(async () => {
      for (const child of children) child.kill("SIGKILL");
      tree?.remove();
      await database.drop();
      rmSync(data, { recursive: true });
    });

    const inside = (file: string): string => tree!.inside(file);
    const command = (words: readonly string[]): string[] => words.map((word) => (word.startsWith("/app/") ? inside(word) : word));
    const env = (more: Record<string, string>): NodeJS.ProcessEnv => ({
      PATH: `${inside("/usr/local/bin")}:${process.env["PATH"]}`,
      ...tree!.env,
      SYNAPSE_CONFIG_DIR: data,
      SYNAPSE_DATA_DIR: data,
      // Who runs the tests owns the volume.
      ...(process.getuid?.() === 0 ? { UID: "0", GID: "0" } : {}),
      ...more,
    });
    const execute = (words: readonly string[], more: Record<string, string> = {}): ReturnType<typeof spawnSync> =>
      spawnSync(words[0]!, words.slice(1), { cwd: data, env: env(more), encoding: "utf8" });

    it("holds what it runs and no more: no sources, no tests, no tools of developers", () => {
      assert.deepEqual(readdirSync(inside("/app")).sort(), ["LICENSE", "dist", "docker", "node_modules", "package.json", "schema", "templates"]);
      for (const name of ["typescript", "mocha", "prettier", "matrix-js-sdk"]) assert.ok(!existsSync(inside(`/app/node_modules/${name}`)), name);
      for (const name of ["express", "pg", "sharp"]) assert.ok(existsSync(inside(`/app/node_modules/${name}`)), name);
      assert.deepEqual(
        readdirSync(inside("/app/dist"), { recursive: true, encoding: "utf8" }).filter((file) => /\.test\.js$|\.ts$/.test(file)),
        [],
      );
      assert.deepEqual(tree!.ports, ["8008/tcp", "8448/tcp", "19090/tcp"]);
      assert.ok(tree!.left.every((step) => /^(groupadd|useradd|chown) .*991/.test(step)));
    });

    it("makes a configuration, serves, tells its health, registers a user and ends when told to", async () => {
      const url = new URL(database.url);
      const port = await freePort();
      const generated = execute([...command(tree!.entrypoint), "generate"], {
        SYNAPSE_SERVER_NAME: "image.test",
        SYNAPSE_REPORT_STATS: "no",
        POSTGRES_HOST: url.hostname,
        POSTGRES_PORT: url.port || "5432",
        POSTGRES_USER: url.username,
        POSTGRES_PASSWORD: decodeURIComponent(url.password),
        POSTGRES_DB: database.name,
      });
      assert.equal(generated.status, 0, String(generated.stderr));
      const file = path.join(data, "homeserver.yaml");
      const options = parse(readFileSync(file, "utf8")) as { listeners: { port: number }[]; myelin?: object };
      options.listeners[0]!.port = port;
      writeFileSync(file, stringify({ ...options, myelin: { ...options.myelin, allow_other_clients: true } }));

      const [program, ...args] = command(tree!.entrypoint);
      const server = spawn(program!, args, { cwd: data, env: env({}), stdio: ["ignore", "ignore", "inherit"] });
      children.push(server);
      const ended = new Promise((resolve) => server.once("exit", (code, signal) => resolve(signal ?? code)));
      const health = (): number | null => execute(command(tree!.healthcheck), { SYNAPSE_HTTP_PORT: String(port) }).status;
      for (let tries = 0; health() !== 0; tries++) {
        assert.ok(tries < 100 && server.exitCode === null, "the server does not answer");
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      const registered = execute(["register_new_matrix_user", "-c", "homeserver.yaml", "-u", "admin", "-p", "secret", "-a"]);
      assert.equal(registered.status, 0, `${String(registered.stdout)}${String(registered.stderr)}`);
      assert.match(String(execute(["myelin", "help"]).stdout), /synapse_auto_compressor/);
      server.kill("SIGTERM");
      assert.equal(await ended, 0);
      assert.notEqual(health(), 0);
    });

    it("is also a Debian package that takes Synapse's place", function () {
      if (!found("dpkg-deb")) return this.skip();
      const folder = mkdtempSync(path.join(tmpdir(), "myelin-deb-"));
      try {
        const deb = buildDebianPackage(tree!, folder, ["node_modules"]);
        const show = (...args: string[]): string => spawnSync("dpkg-deb", [...args, deb], { encoding: "utf8" }).stdout;
        assert.match(show("--info"), /Conflicts: matrix-synapse, matrix-synapse-py3/);
        const files = show("--contents");
        for (const name of [
          "usr/bin/synctl",
          "usr/bin/synapse_homeserver",
          "lib/systemd/system/matrix-myelin.service",
          "usr/lib/matrix-myelin/dist/src/main.js",
          "usr/lib/matrix-myelin/schema/full.sql",
        ]) {
          assert.ok(files.includes(`./${name}`), name);
        }
        assert.doesNotMatch(files, /\.\/etc\/matrix-synapse\/./, "configuration files belong to Synapse's package");
      } finally {
        rmSync(folder, { recursive: true });
      }
    });

    it("takes over from Synapse's package under dpkg, keeps what is the admin's, and goes without a trace of itself", function () {
      if (!found("dpkg") || process.getuid?.() !== 0) return this.skip();
      const folder = mkdtempSync(path.join(tmpdir(), "myelin-deb-"));
      const system = new ScratchSystem(true);
      try {
        const deb = buildDebianPackage(tree!, folder, ["node_modules"]);
        const config = "etc/matrix-synapse/homeserver.yaml";
        const before = system.installOther("matrix-synapse-py3", {
          "DEBIAN/conffiles": `/${config}\n`,
          [config]: "server_name: x\n",
          "usr/bin/synctl": "old\n",
        });
        assert.equal(before.status, 0, before.output);

        const installed = system.dpkg("--install", deb);
        assert.equal(installed.status, 0, installed.output);
        assert.match(installed.output, /removing matrix-synapse-py3 in favour of matrix-myelin/);
        assert.deepEqual(installed.calls, [
          "getent passwd matrix-synapse",
          "adduser --quiet --system --home /var/lib/matrix-synapse --no-create-home --ingroup nogroup matrix-synapse",
          "chown matrix-synapse:nogroup /var/lib/matrix-synapse",
          "chown matrix-synapse:nogroup /var/log/matrix-synapse",
          "chown matrix-synapse:nogroup /etc/matrix-synapse",
          "systemctl daemon-reload",
          "systemctl enable --quiet matrix-myelin.service",
          "systemctl restart matrix-myelin.service",
        ]);
        assert.equal(readFileSync(system.inside(config), "utf8"), "server_name: x\n");
        for (const made of ["var/lib/matrix-synapse", "var/log/matrix-synapse", "etc/matrix-synapse/conf.d"]) assert.ok(existsSync(system.inside(made)), made);
        assert.equal(readlinkSync(system.inside("usr/bin/synctl")), "/usr/lib/matrix-myelin/dist/src/bin/synctl.js");

        const again = system.dpkg("--install", deb);
        assert.equal(again.status, 0, again.output);
        assert.ok(
          !again.calls.some((call) => call.includes("disable")) && again.calls.at(-1) === "systemctl restart matrix-myelin.service",
          again.calls.join("\n"),
        );

        const purged = system.dpkg("--purge", "matrix-myelin");
        assert.equal(purged.status, 0, purged.output);
        assert.equal(purged.calls[0], "systemctl disable --quiet --now matrix-myelin.service");
        assert.ok(!existsSync(system.inside("usr/bin/synctl")) && !existsSync(system.inside("usr/lib/matrix-myelin")));
        assert.equal(readFileSync(system.inside(config), "utf8"), "server_name: x\n", "also a purge leaves configuration, media and keys");
      } finally {
        system.close();
        rmSync(folder, { recursive: true });
      }
    });

    it("is installed as a package without systemd and without a configuration, and says what to do", function () {
      if (!found("dpkg") || process.getuid?.() !== 0) return this.skip();
      const folder = mkdtempSync(path.join(tmpdir(), "myelin-deb-"));
      const system = new ScratchSystem(false);
      try {
        const { status, output, calls } = system.dpkg("--install", buildDebianPackage(tree!, folder, ["node_modules"]));
        assert.equal(status, 0, output);
        assert.match(output, /There is no \/etc\/matrix-synapse\/homeserver\.yaml yet\. See \/usr\/share\/doc\/matrix-myelin\/README\.Debian/);
        assert.ok(existsSync(system.inside("usr/share/doc/matrix-myelin/README.Debian")));
        assert.ok(!calls.some((call) => call.startsWith("systemctl")), calls.join("\n"));
      } finally {
        system.close();
        rmSync(folder, { recursive: true });
      }
    });

    it("says what is missing instead of starting on nothing", () => {
      const { status, stderr } = execute(command(tree!.entrypoint), { SYNAPSE_CONFIG_PATH: path.join(data, "none.yaml"), SYNAPSE_SERVER_NAME: "x" });
      assert.equal(status, 2);
      assert.match(String(stderr), /none\.yaml' does not exist/);
    });
  });

  it("have Dockerfiles that the linter takes", function () {
    for (const file of ["Dockerfile", "complement/Dockerfile"]) {
      const steps = readDockerfile(path.join(here, file));
      assert.ok(steps.filter(({ keyword }) => keyword === "FROM").every((step) => !/:latest(\s|$)/.test(step.text)));
      assert.ok(steps.some(({ keyword }) => keyword === "HEALTHCHECK") && steps.at(-1)!.keyword === "ENTRYPOINT");
      for (const { keyword, text: step } of steps) {
        assert.ok(keyword !== "ADD" && !/\bsudo\b/.test(step), `${keyword} ${step}`);
        if (keyword !== "COPY" || step.includes("--from=")) continue;
        const folder = file === "Dockerfile" ? context : path.join(here, "complement");
        const sources = step
          .split(/\s+/)
          .filter((word) => !word.startsWith("--"))
          .slice(0, -1);
        for (const source of sources) assert.ok(existsSync(path.join(folder, source)), `${file}: ${source}`);
      }
    }
    if (!found("hadolint")) return;
    const { status, stdout } = spawnSync("hadolint", [path.join(here, "Dockerfile"), path.join(here, "complement/Dockerfile")], { encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });

  it("have compose files whose services, volumes and files exist", () => {
    interface Service {
      image?: string;
      build?: { context: string; dockerfile: string };
      depends_on?: Record<string, { condition: string }>;
      volumes?: string[];
      healthcheck?: object;
    }
    const files = ["compose.yaml", "compose.nginx.yaml"].map((file) => parse(text(file)) as { services: Record<string, Service>; volumes?: object });
    const services = Object.assign({}, ...files.map((file) => file.services)) as Record<string, Service>;
    const volumes = Object.keys(Object.assign({}, ...files.map((file) => file.volumes)) as object);
    for (const [name, service] of Object.entries(services)) {
      assert.ok(service.image !== undefined, name);
      if (service.build !== undefined) assert.ok(existsSync(path.resolve(here, service.build.context, service.build.dockerfile)));
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        assert.ok(services[other] !== undefined, other);
        // The health of the server is told by its image.
        if (condition === "service_healthy" && other !== "synapse") assert.ok(services[other].healthcheck !== undefined, other);
      }
      for (const volume of service.volumes ?? []) {
        const source = volume.split(":")[0]!;
        assert.ok(source.startsWith("./") ? source === "./tls" || existsSync(path.join(here, source)) : volumes.includes(source), source);
      }
    }
  });

  it("have a configuration for Complement that the server takes", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "myelin-complement-"));
    try {
      const authority = spawnSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt"], {
        cwd: folder,
      });
      if (authority.status !== 0) return; // no openssl here
      const home = path.join(folder, "home");
      for (const name of ["node", "chown"]) writeFileSync(path.join(folder, name), "#!/bin/sh\nexit 0\n", { mode: 0o755 });
      const started = spawnSync("sh", [path.join(here, "complement/start.sh")], {
        encoding: "utf8",
        // A `node` that does nothing stands for the server.
        env: { PATH: `${folder}:${process.env["PATH"]}`, SERVER_NAME: "hs1", COMPLEMENT_DATA: home, COMPLEMENT_CA: folder },
      });
      assert.equal(started.status, 0, started.stderr);
      const config = parseConfig(
        {
          ...(parse(readFileSync(path.join(home, "homeserver.yaml"), "utf8")) as object),
          signing_key: "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
        },
        { configDir: home, dataDir: home, env: {} },
      );
      assert.equal(config.server.serverName, "hs1");
      assert.deepEqual(config.notices, []);
      const verified = spawnSync("openssl", ["verify", "-CAfile", path.join(folder, "ca.crt"), "-verify_hostname", "hs1", path.join(home, "server.tls.crt")]);
      assert.equal(verified.status, 0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

async function freePort(): Promise<number> {
  return await new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
