/** Matrix identifiers as branded strings, their grammar and their parts (specification appendix "Identifier Grammar"). */
declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

export type UserId = Branded<string, "UserId">;
export type RoomId = Branded<string, "RoomId">;
export type EventId = Branded<string, "EventId">;
export type RoomAlias = Branded<string, "RoomAlias">;
export type ServerName = Branded<string, "ServerName">;
export type DeviceId = Branded<string, "DeviceId">;
