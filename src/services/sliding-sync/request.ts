import { z } from "zod";

/** The body of a simplified sliding sync request (MSC4186). */
const requiredState = z.array(z.tuple([z.string(), z.string()]));

const roomParameters = {
  required_state: requiredState,
  timeline_limit: z.int().max(1000),
};

const filters = z.object({
  is_dm: z.boolean().nullish(),
  spaces: z.array(z.string()).nullish(),
  is_encrypted: z.boolean().nullish(),
  is_invite: z.boolean().nullish(),
  room_types: z.array(z.string().nullable()).nullish(),
  not_room_types: z.array(z.string().nullable()).nullish(),
  room_name_like: z.string().nullish(),
  tags: z.array(z.string()).nullish(),
  not_tags: z.array(z.string()).nullish(),
});

const list = z.object({
  ...roomParameters,
  ranges: z.array(z.tuple([z.int().min(0), z.int().min(0)])).nullish(),
  slow_get_all_rooms: z.boolean().nullish(),
  filters: filters.nullish(),
});

const switched = z.object({ enabled: z.boolean().nullish() });
const perRoom = switched.extend({ lists: z.array(z.string()).nullish(), rooms: z.array(z.string()).nullish() });
const position = z
  .string()
  .refine((text) => /^-?\d{1,16}$/.test(text), "should look like an integer")
  .nullish();

export const slidingSyncBody = z.object({
  conn_id: z.string().nullish(),
  lists: z
    .record(z.string().max(64), list)
    .refine((lists) => Object.keys(lists).length <= 100, "at most 100 lists")
    .nullish(),
  room_subscriptions: z.record(z.string(), z.object(roomParameters)).nullish(),
  extensions: z
    .object({
      to_device: switched.extend({ limit: z.int().default(100), since: position }).nullish(),
      e2ee: switched.nullish(),
      account_data: perRoom.nullish(),
      receipts: perRoom.nullish(),
      typing: perRoom.nullish(),
      "io.element.msc4308.thread_subscriptions": switched.extend({ limit: z.int().default(100) }).nullish(),
      "org.matrix.msc4354.sticky_events": switched.extend({ limit: z.int().min(0).default(100), since: z.string().nullish() }).nullish(),
      "org.matrix.msc4262.profiles": switched.extend({ fields: z.array(z.string()).nullish() }).nullish(),
    })
    .nullish(),
});

export type SlidingSyncBody = z.output<typeof slidingSyncBody>;
export type SlidingList = z.output<typeof list>;
export type ListFilters = z.output<typeof filters>;
export type PerRoomExtension = z.output<typeof perRoom>;
