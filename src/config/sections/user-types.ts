import type { ConfigReader } from "../reader.ts";

/** Kinds of accounts beside the normal one (`user_types`). */
export type UserTypesConfig = ReturnType<typeof parseUserTypes>;

export function parseUserTypes(root: ConfigReader) {
  const raw = root.object("user_types");
  const all = ["support", "bot", ...raw.strings("extra_user_types")];
  const defaultUserType = raw.string("default_user_type");
  if (defaultUserType !== undefined && !all.includes(defaultUserType)) throw raw.wrong("default_user_type", `one of ${all.join(", ")}`);
  return { defaultUserType, allUserTypes: all };
}
