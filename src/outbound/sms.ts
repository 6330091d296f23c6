import { percentFormat } from "../lib/percent-format.ts";
import type { HttpClient } from "./http-client.ts";

/** Sends short messages to phones. */
export interface SmsProvider {
  /** @param number international, with the plus. @throws Error when the provider does not take it */
  send(number: string, text: string): Promise<void>;
}

/** A provider with an HTTP interface (`myelin.sms`). */
export interface HttpSmsOptions {
  readonly url: string;
  readonly method: "POST" | "GET";
  readonly headers: Readonly<Record<string, string>>;
  /** How the fields are sent: as JSON, as a form, or in the query. */
  readonly format: "json" | "form" | "query";
  /** Values may hold %(number)s, %(text)s and %(digits)s, the number without the plus. */
  readonly fields: Readonly<Record<string, string>>;
}

export class HttpSmsProvider implements SmsProvider {
  constructor(
    private readonly http: HttpClient,
    private readonly options: HttpSmsOptions,
  ) {}

  async send(number: string, text: string): Promise<void> {
    const { url, method, headers, format } = this.options;
    const values = { number, text, digits: number.replace(/^\+/, "") };
    const fields = Object.fromEntries(Object.entries(this.options.fields).map(([name, value]) => [name, percentFormat(value, values)]));
    await this.http.text({ method, url, headers, ...(format === "json" ? { json: fields } : format === "form" ? { form: fields } : { query: fields }) });
  }
}
