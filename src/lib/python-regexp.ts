/**
 * A regular expression that an admin wrote for Python's `re.match`: it matches from the start of the text. Named groups, flags at the
 * beginning (`(?i)`), `\A` and `\Z` are translated.
 * @throws SyntaxError for what JavaScript cannot read
 */
export function pythonMatcher(pattern: string): RegExp {
  const [, flags = "", rest = pattern] = /^\(\?([aimsux]+)\)([^]*)$/.exec(pattern) ?? [];
  const body = rest.replace(/\\[^]|\(\?P<|\(\?P=(\w+)\)/g, (part, name: string | undefined) => {
    if (part === "(?P<") return "(?<";
    if (name !== undefined) return `\\k<${name}>`;
    return part === "\\A" ? "(?<![^])" : part === "\\Z" ? "(?![^])" : part;
  });
  const kept = [...new Set(flags)].filter((flag) => "ims".includes(flag)).join("");
  return new RegExp(`(?<![^])(?:${body})`, kept);
}
