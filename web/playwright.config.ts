import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

/** Debian's. Playwright's own browsers are never downloaded. */
export const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

if (!existsSync(CHROMIUM)) {
  const problem = `no ${CHROMIUM} (Debian package chromium; CHROMIUM=… names another)`;
  if (process.env["CI"] === "true") throw new Error(problem);
  console.log(`SKIPPED: the browser tests: ${problem}`);
}

export default defineConfig({
  testDir: "e2e",
  testMatch: process.env["SCREENSHOT"] ? "screenshot.ts" : "*.spec.ts",
  testIgnore: existsSync(CHROMIUM) ? [] : ["**"],
  outputDir: "node_modules/.playwright",
  fullyParallel: false,
  workers: 1, // they measure: one browser, one relay
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
