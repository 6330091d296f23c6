import { existsSync } from "node:fs";
import type { Browser } from "puppeteer-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];

/** A Chromium of this machine, as `CHROMIUM` names it or where systems have it; undefined when there is none. */
export async function openChromium(): Promise<Browser | undefined> {
  const executablePath = [process.env["CHROMIUM"], ...PLACES].find((file) => file !== undefined && existsSync(file));
  if (executablePath === undefined) return undefined;
  const { launch } = await import("puppeteer-core");
  return await launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
}
