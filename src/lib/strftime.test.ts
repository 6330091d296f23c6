import assert from "node:assert/strict";
import { percentFormat } from "./percent-format.ts";
import { strftime } from "./strftime.ts";

describe("strftime", () => {
  const date = new Date(2026, 2, 5, 14, 7, 9);
  it("writes the directives that C knows", () => {
    assert.equal(strftime(date, "%d-%m-%Y"), "05-03-2026");
    assert.equal(strftime(date, "%a %A %b %B %e %j %y %H:%M:%S %I%p %F %T %%"), "Thu Thursday Mar March  5 064 26 14:07:09 02PM 2026-03-05 14:07:09 %");
    assert.equal(strftime(date, "%-d.%-m. %-I"), "5.3. 2");
  });
  it("leaves what it does not know", () => {
    assert.equal(strftime(date, "100% %Q %"), "100% %Q %");
  });
});

describe("percentFormat", () => {
  it("fills in names, once", () => {
    assert.equal(percentFormat("[%(app)s] 100%% of %(app)s %(other)s", { app: "%(other)s" }), "[%(other)s] 100% of %(other)s %(other)s");
  });
  it("takes no names from what objects inherit", () => {
    assert.equal(percentFormat("%(constructor)s", {}), "%(constructor)s");
  });
});
