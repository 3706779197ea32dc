import { defineConfig } from "vite";

export default defineConfig({
  root: import.meta.dirname,
  base: "/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2023",
    outDir: "../../src/tokenwire/gateway/static",
    emptyOutDir: true,
    assetsInlineLimit: 0, // files, not data: addresses: the policy allows both, caches like files
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
});
