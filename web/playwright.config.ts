import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

/** Debian's. Playwright's own browsers are never downloaded. */
export const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

if (!existsSync(CHROMIUM)) {
  const problem = `no ${CHROMIUM} (Debian package chromium; CHROMIUM=… names another)`;
  if (process.env["CI"] === "true") throw new Error(problem);
  console.log(`SKIPPED: the browser tests: ${problem}`);
}

/** Without a browser there is none to run. */
const NONE = existsSync(CHROMIUM) ? [] : ["**"];

/** What measures the page, or acts while an answer comes: one browser, one relay, when all others are done. */
const TIMED = ["load.spec.ts", "resume.spec.ts", "streaming.spec.ts"];

export default defineConfig({
  testDir: "e2e",
  testIgnore: NONE,
  outputDir: "node_modules/.playwright",
  fullyParallel: false,
  workers: 2, // the rest mostly waits: each worker has a browser and a relay of its own
  projects: process.env["SCREENSHOT"]
    ? [{ name: "screenshot", testMatch: "screenshot.ts", workers: 1 }]
    : [
        { name: "page", testMatch: "*.spec.ts", testIgnore: [...TIMED, ...NONE] },
        { name: "timed", testMatch: TIMED, testIgnore: NONE, workers: 1, dependencies: ["page"] },
      ],
  retries: 1, // alone, for the measuring ones: the machine may have been busy with something else
  timeout: 40_000,
  reporter: [["list"]],
  use: {
    browserName: "chromium",
    launchOptions: { executablePath: CHROMIUM, args: ["--disable-dev-shm-usage"] },
    viewport: { width: 1360, height: 860 },
    trace: "off",
    video: "off",
  },
});
