import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** What of a response is signed, and whether the assertion is encrypted to the service provider. */
export interface Signing {
  readonly sign_response?: boolean;
  readonly sign_assertion?: boolean;
  readonly encrypt?: boolean;
}

/** What an identity provider understood of a service provider's metadata. */
export interface Understood {
  readonly entity: string;
  readonly acs: readonly string[];
  readonly signing: number;
  readonly encryption: number;
}

/** A SAML2 identity provider of pysaml2, in a process of its own. Browsers do not reach it: the test carries what they would. */
export class PysamlIdp {
  private readonly process: ChildProcess;
  private readonly answers: AsyncIterator<string>;

  constructor(python: string, keyFile: string, certificateFile: string) {
    const script = fileURLToPath(new URL("saml-idp.py", import.meta.url));
    this.process = spawn(python, ["-u", script, keyFile, certificateFile], { stdio: ["pipe", "pipe", "inherit"] });
    this.answers = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  metadata(): Promise<string> {
    return this.ask<string>({ what: "metadata" });
  }

  meet(sp: string): Promise<Understood> {
    return this.ask<Understood>({ what: "meet", sp });
  }

  /** The response, as XML. `override` changes what it says of the request that it answers. */
  respond(
    to: { readonly request: string } | { readonly entity: string; readonly acs: string },
    identity: Readonly<Record<string, string | readonly string[]>>,
    signing: Signing,
    override: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    return this.ask<string>({ what: "respond", ...to, identity, ...signing, override });
  }

  close(): void {
    this.process.stdin!.end();
    this.process.kill();
  }

  private async ask<T>(question: object): Promise<T> {
    this.process.stdin!.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.answers.next();
    if (done === true) throw new Error("The identity provider has gone");
    const { answer, error } = JSON.parse(value) as { answer?: T; error?: string };
    if (error !== undefined) throw new Error(`The identity provider: ${error}`);
    return answer!;
  }
}
