#!/usr/bin/env node
import "./lib/young-generation.ts";

// Imported only now: what is loaded before the line above has run is not held back by it.
await import("./bin/homeserver.ts");
