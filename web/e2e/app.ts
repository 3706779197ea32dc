// Pages of applications that use the AI SDK, one for each of its major versions: built here, and put before a relay.
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type BrowserContext, type Page, test as base, expect } from "@playwright/test";
import { build } from "vite";
import { ScriptedUpstream } from "./upstream.js";
import { end, start } from "./world.js";

export { expect };

const require = createRequire(import.meta.url);
/** What comes at once on an idle machine. */
export const PATIENCE = { timeout: 20_000, intervals: [20] };
const built = new Map<number, Promise<string>>();

/** The page of that version as one script. */
function script(version: number): Promise<string> {
  const made = built.get(version) ?? bundle(version);
  built.set(version, made);
  return made;
}

async function bundle(version: number): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: "error",
    define: { "process.env.NODE_ENV": '"production"' },
    resolve: { alias: { "ai-react7": `ai-react${version}` } },
    build: {
      write: false,
      minify: false,
      lib: { entry: join(import.meta.dirname, "pages", "use-chat.tsx"), formats: ["es"] },
    },
  });
  const output = Array.isArray(result) ? result[0] : result;
  if (!output || !("output" in output)) throw new Error("vite built nothing");
  return output.output[0].code;
}

/** What of the SDK is in the page, by its package.json. */
export function versionOf(version: number): string {
  const folder = dirname(require.resolve(`ai-react${version}/package.json`));
  const manifest = require(createRequire(join(folder, "package.json")).resolve("ai/package.json")) as { version: string };
  return manifest.version;
}

/** Every tab of *context* finds the page at `/app` of that origin. Everything else there is the relay's. */
export async function put(context: BrowserContext, origin: string, version: number): Promise<void> {
  const body = await script(version);
  await context.route(`${origin}/app.js`, (route) => route.fulfill({ contentType: "text/javascript", body }));
  await context.route(`${origin}/app?**`, (route) => {
    return route.fulfill({ contentType: "text/html", body: '<!doctype html><meta charset=utf-8><script type=module src="/app.js"></script>' });
  });
}

export interface Shown {
  status: string;
  error: string | null;
  messages: { id: string; role: string; parts: Part[] }[];
  calls: string[];
}

export interface Part {
  type: string;
  text?: string;
  state?: string;
  toolCallId?: string;
  input?: unknown;
  output?: unknown;
}

/** One tab with the page. */
export class Tab {
  readonly page: Page;
  readonly #address: string;

  private constructor(page: Page, address: string) {
    this.page = page;
    this.#address = address;
  }

  /** *options* go into the page's address. */
  static async open(context: BrowserContext, origin: string, options: Record<string, string>): Promise<Tab> {
    const tab = new Tab(await context.newPage(), `${origin}/app?${new URLSearchParams(options)}`);
    await tab.page.goto(tab.#address);
    await tab.page.locator("pre").waitFor();
    return tab;
  }

  press(name: "Send" | "Resume" | "Stop"): Promise<void> {
    return this.page.getByRole("button", { name }).click();
  }

  async shown(): Promise<Shown> {
    return JSON.parse((await this.page.locator("pre").textContent()) ?? "") as Shown;
  }

  /** The text of the answer, all steps of it. There must be one answer at most. */
  async text(): Promise<string> {
    const { messages } = await this.shown();
    const answers = messages.filter(({ role }) => role === "assistant");
    expect(answers.length).toBeLessThan(2);
    return (answers[0]?.parts ?? []).map(({ text }) => text ?? "").join("");
  }

  async status(wanted: string): Promise<void> {
    await expect.poll(async () => (await this.shown()).status, PATIENCE).toBe(wanted);
  }

  /** Until so much more of the answer has come. */
  async grows(by = 20): Promise<string> {
    const before = (await this.text()).length;
    await expect.poll(async () => (await this.text()).length, PATIENCE).toBeGreaterThan(before + by);
    return this.text();
  }
}

/** A relay before a provider that says what a test wants. It keeps its port, and what it stores, when it is killed. */
export class Server {
  readonly scripted = new ScriptedUpstream();
  url = "";
  readonly #folder = mkdtempSync(join(tmpdir(), "tokenwire-app-"));
  readonly #processes: ChildProcess[] = [];

  async begin(): Promise<void> {
    const upstream = await this.scripted.listen();
    const store = `[store]\nurl = "sqlite://${join(this.#folder, "streams.db")}"\n`;
    const up = `[upstreams.up]\nbase_url = "${upstream}/v1"\nmodels = ["m"]\n`;
    writeFileSync(this.#config, `[server]\ndefault_model = "up/m"\n${store}${up}`);
    await this.#start(0);
  }

  /** As the kernel would, without a word; and begun again. */
  async kill(): Promise<void> {
    const child = this.#processes.at(-1);
    const gone = new Promise((resolve) => child?.once("exit", resolve));
    child?.kill("SIGKILL");
    await gone;
  }

  again(): Promise<void> {
    return this.#start(Number(new URL(this.url).port));
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map(end));
    await this.scripted.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #config(): string {
    return join(this.#folder, "tokenwire.toml");
  }

  async #start(port: number): Promise<void> {
    this.url = await start(this.#processes, ["-m", "tokenwire", "serve", "--config", this.#config, "--port", String(port)]);
  }
}

export const test = base.extend<object, { server: Server }>({
  server: [
    async ({}, use) => {
      const server = new Server();
      try {
        await server.begin();
        await use(server);
      } finally {
        await server.close();
      }
    },
    { scope: "worker", timeout: 60_000 },
  ],
});
