import { isJsonObject, type Json } from "../../lib/json.ts";
import type { Dice } from "./dice.ts";

/** Values that no field expects. */
const WRONG_VALUES: readonly Json[] = [
  null,
  true,
  false,
  0,
  -1,
  1,
  3.7,
  -0.5,
  2 ** 31,
  2 ** 53 - 1,
  -(2 ** 53),
  2 ** 63,
  1e300,
  "",
  " ",
  "\u0000",
  "a\u0000b",
  "\ud800",
  "\u202e😀",
  "null",
  "__proto__",
  "constructor",
  "x".repeat(300),
  "x".repeat(70_000),
  "@",
  "@:",
  "!:test",
  "$",
  "#",
  "mxc://",
  "mxc://a/../../b",
  "http://127.0.0.1:1/",
  "file:///etc/passwd",
  "%00",
  "';--",
  [],
  [[]],
  [null],
  [{}],
  ["a", 1],
  {},
  { a: null },
  { "": {} },
  { __proto__x: 1 },
  { "\u0000": "\u0000" },
];

/** Texts for places where a text stands: path segments, query values, headers. */
const WRONG_TEXTS: readonly string[] = [
  "",
  " ",
  "-1",
  "0",
  "1",
  "99999999999",
  "99999999999999999999999",
  "9223372036854775807",
  "9223372036854775808",
  "2147483648",
  "1e5",
  "0x10",
  "1.5",
  "NaN",
  "null",
  "true",
  "f",
  "b",
  "a b",
  "\u0000",
  "a\u0000b",
  "\ud83d\ude00",
  "%",
  "%zz",
  "%ff%fe",
  "..",
  "../../etc/passwd",
  "a/b",
  "a\\b",
  "@a",
  "@:",
  "@a:b",
  "@A:localhost",
  "!a",
  "!a:b",
  "!" + "a".repeat(43),
  "#a:b",
  "$a",
  "$a:b",
  "mxc://a/b",
  "__proto__",
  "constructor",
  "toString",
  "{}",
  "[]",
  '{"a":1}',
  "s1_2_3_4_5_6_7_8_9_10_11_12",
  "s9999999999999999999_0_0_0_0_0_0_0_0_0",
  "s-1_-1_-1_-1_-1_-1_-1_-1_-1_-1",
  "t1-1_0_0_0_0_0_0_0_0_0",
  "t99999999999999999999-99999999999999999999_0",
  "m1~1.1~2.2_0_0",
  "0/s1",
  "x".repeat(300),
  "x".repeat(4000),
  "é".repeat(200),
  "\u202e",
  "'; DROP TABLE users; --",
  "<script>",
];

export const wrongValue = (dice: Dice): Json => structuredClone(dice.pick(WRONG_VALUES));
export const wrongText = (dice: Dice): string => dice.pick(WRONG_TEXTS);

/** The value with one or more fields at any depth replaced, removed, doubled or added. */
export function mutate(value: Json, dice: Dice): Json {
  let out = structuredClone(value);
  for (let count = 1 + dice.below(3); count > 0; count--) out = mutateOnce(out, dice);
  return out;
}

function mutateOnce(root: Json, dice: Dice): Json {
  const places = placesOf(root);
  if (places.length === 0 || dice.chance(0.05))
    return dice.chance(0.7) && isJsonObject(root) ? { ...root, [dice.pick(NAMES)]: wrongValue(dice) } : wrongValue(dice);
  const { parent, key } = dice.pick(places);
  const holder = parent as Record<string, Json>;
  const roll = dice.next();
  if (roll < 0.15) {
    if (Array.isArray(parent)) parent.splice(Number(key), 1);
    else delete holder[key];
  } else if (roll < 0.25) {
    holder[key] = [holder[key]!];
  } else if (roll < 0.35 && !Array.isArray(parent)) {
    holder[dice.pick(NAMES)] = holder[key]!;
  } else {
    holder[key] = wrongValue(dice);
  }
  return root;
}

const NAMES = ["", "a", "__proto", "@a:b", "*", "m.room.member", "type", "auth", "user_id", "content", "x".repeat(300), "\u0000", "9", "ed25519:x"];

function placesOf(root: Json): { parent: Json[] | Record<string, Json>; key: string }[] {
  const places: { parent: Json[] | Record<string, Json>; key: string }[] = [];
  const visit = (value: Json): void => {
    if (typeof value !== "object" || value === null) return;
    for (const key of Object.keys(value)) {
      const parent = value as Record<string, Json>;
      places.push({ parent, key });
      visit(parent[key]!);
    }
  };
  visit(root);
  return places;
}

/** Bodies that are no JSON object, or hardly. */
export function rawJunk(dice: Dice): Buffer {
  const deep = 2000 + dice.below(20_000);
  const choices: (() => string | Buffer)[] = [
    () => "",
    () => "{",
    () => "[]",
    () => "null",
    () => '"text"',
    () => "1",
    () => '{"a":NaN}',
    () => '{"a":Infinity}',
    () => '{"a":1e999}',
    () => '{"a":-0}',
    () => '{"a":"\\ud800"}',
    () => '{"a":1,"a":2}',
    () => '{"__proto__":{"admin":true}}',
    () => '{"a":"\u0000"}',
    () => "\ufeff{}",
    () => "[".repeat(deep) + "]".repeat(deep),
    () => '{"a":'.repeat(deep) + "1" + "}".repeat(deep),
    () => Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
    () => JSON.stringify({ a: "x".repeat(200_000) }),
    () => "a=b&c=d",
    () => '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
  ];
  const chosen = dice.pick(choices)();
  return typeof chosen === "string" ? Buffer.from(chosen, "utf8") : chosen;
}
