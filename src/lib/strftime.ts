const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

const two = (value: number): string => String(value).padStart(2, "0");
const twelve = (date: Date): number => date.getHours() % 12 || 12;

const DIRECTIVES: Readonly<Record<string, (date: Date) => string>> = {
  a: (date) => DAYS[date.getDay()]!.slice(0, 3),
  A: (date) => DAYS[date.getDay()]!,
  b: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  B: (date) => MONTHS[date.getMonth()]!,
  c: (date) => strftime(date, "%a %b %e %H:%M:%S %Y"),
  d: (date) => two(date.getDate()),
  D: (date) => strftime(date, "%m/%d/%y"),
  e: (date) => String(date.getDate()).padStart(2),
  f: (date) => `${String(date.getMilliseconds()).padStart(3, "0")}000`,
  F: (date) => strftime(date, "%Y-%m-%d"),
  H: (date) => two(date.getHours()),
  I: (date) => two(twelve(date)),
  j: (date) =>
    String(Math.round((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000)).padStart(3, "0"),
  m: (date) => two(date.getMonth() + 1),
  M: (date) => two(date.getMinutes()),
  p: (date) => (date.getHours() < 12 ? "AM" : "PM"),
  s: (date) => String(Math.floor(date.getTime() / 1000)),
  S: (date) => two(date.getSeconds()),
  T: (date) => strftime(date, "%H:%M:%S"),
  u: (date) => String(date.getDay() || 7),
  w: (date) => String(date.getDay()),
  x: (date) => strftime(date, "%m/%d/%y"),
  X: (date) => strftime(date, "%H:%M:%S"),
  y: (date) => two(date.getFullYear() % 100),
  Y: (date) => String(date.getFullYear()),
  z: (date) => {
    const minutes = -date.getTimezoneOffset();
    return `${minutes < 0 ? "-" : "+"}${two(Math.floor(Math.abs(minutes) / 60))}${two(Math.abs(minutes) % 60)}`;
  },
  Z: (date) => /\(([^)]+)\)/.exec(date.toString())?.[1] ?? "UTC",
  "%": () => "%",
};

/** A date in the server's own time zone by C's directives, in English; `%-d` has no zeros in front. Unknown directives stay as they are. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (match, bare: string, directive: string) => {
    const text = DIRECTIVES[directive]?.(date);
    return text === undefined ? match : bare === "-" ? text.replace(/^[0 ]+(?=\d)/, "") : text;
  });
}
