import { defineConfig } from "vitest/config";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  test: { include: ["client/test/**/*.test.ts", "playground/test/**/*.test.{ts,tsx}"], environment: "node" },
});
