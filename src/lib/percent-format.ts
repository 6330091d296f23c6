/**
 * Python's `%` formatting with names, as subjects and senders of mails use it: `%(app)s` stands for a value, `%%` for a per cent sign.
 * Names without a value are left as they are.
 */
export function percentFormat(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/%%|%\((\w+)\)s/g, (match, name: string | undefined) => (name === undefined ? "%" : Object.hasOwn(values, name) ? values[name]! : match));
}
