/** How much a cache holds, by Synapse's name for it and what it holds by default: whoever runs the server makes caches larger or smaller. */
export type CacheSize = (name: string, byDefault: number) => number;

export const defaultSize: CacheSize = (_name, byDefault) => byDefault;
