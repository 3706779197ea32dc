import { fileURLToPath } from "node:url";
import { build } from "vite";
import type { Page } from "./world.js";

/** The client as one script, put in by the debugger, which no policy binds. */
export async function library(page: Page): Promise<void> {
  const entry = fileURLToPath(new URL("../client/src/index.ts", import.meta.url));
  const built = await build({
    configFile: false,
    logLevel: "silent",
    build: { lib: { entry, formats: ["iife"], name: "tokenwire" }, write: false, minify: false, target: "es2023" },
  });
  const output = (Array.isArray(built) ? built[0] : built) as { output: { code: string }[] };
  await page.evaluate(`${output.output[0]?.code}; globalThis.tokenwire = tokenwire; undefined`);
}
