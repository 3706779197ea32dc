// A relay and the simulator, as processes of their own, and a page before them.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Page, type Route, test as base, expect } from "@playwright/test";
import { SseDecoder } from "@tokenwire/client";
import { ScriptedUpstream } from "./upstream.js";

export { expect };
export type { Page };

const PYTHON = process.env["PYTHON"] ?? fileURLToPath(new URL("../../.venv/bin/python", import.meta.url));
const PATIENCE = 30_000;

export interface Stats {
  active: number;
  tokens: number;
  done: number;
  aborted: number;
  last_abort_ns: number;
  now_ns: number;
}

export interface World {
  url: string;
  simulator: string;
  scripted: ScriptedUpstream;
  stats(): Promise<Stats>;
}

/** Knobs of the simulator, which travel as metadata of the request. */
export interface Knobs {
  tokens?: number;
  ttftMs?: number;
  intervalMs?: number;
  seed?: number;
}

export interface Asking {
  mode?: "stream" | "whole" | "both";
  model?: string;
  tools?: boolean;
  think?: boolean;
}

interface Fixtures {
  /** The playground, loaded, with what it must never do watched: other hosts, policy violations, errors. */
  playground: Playground;
}

export const test = base.extend<Fixtures, { world: World; anthropic: boolean }>({
  /** Whether there is an upstream that speaks Anthropic's dialect, too. */
  anthropic: [false, { option: true, scope: "worker" }],
  world: [
    async ({ anthropic }, use) => {
      const folder = mkdtempSync(join(tmpdir(), "tokenwire-web-"));
      const processes: ChildProcess[] = [];
      const scripted = new ScriptedUpstream();
      try {
        const simulator = await start(processes, ["-m", "tokenwire.simulator", "--port", "0"]);
        const config = join(folder, "tokenwire.toml");
        const upstream = (name: string, dialect: string, address: string): string =>
          `[upstreams.${name}]\ndialect = "${dialect}"\nbase_url = "${address}"\n`;
        writeFileSync(
          config,
          `[store]\nurl = "sqlite://${join(folder, "tokenwire.db")}"\n` + // not the user's, nor another worker's
            upstream("sim", "openai.chat", `${simulator}/v1`) +
            upstream("scripted", "openai.chat", `${await scripted.listen()}/v1`) +
            'models = ["thinker"]\n' +
            (anthropic ? `${upstream("claude", "anthropic", simulator)}models = ["claude-sonnet-4-5"]\n` : "") +
            (anthropic ? `[upstreams.two]\ndialect = ["openai.chat", "anthropic"]\nbase_url = "${simulator}/v1"\nmodels = ["claude-sonnet-4-5"]\n` : ""),
        );
        const url = await start(processes, ["-m", "tokenwire", "serve", "--config", config, "--port", "0"]);
        const stats = async (): Promise<Stats> => (await (await fetch(`${simulator}/stats`)).json()) as Stats;
        await eventually(async () => (await (await fetch(`${url}/v1/models`)).text()).includes("sim/gpt-4o"));
        await use({ url, simulator, scripted, stats });
      } finally {
        await scripted.close();
        await Promise.all(processes.map(end));
        rmSync(folder, { recursive: true, force: true });
      }
    },
    { scope: "worker", timeout: 60_000 },
  ],
  playground: async ({ page, world }, use) => {
    const playground = new Playground(page, world);
    await playground.open();
    await use(playground);
    expect(playground.complaints).toEqual([]);
  },
});

export class Playground {
  readonly page: Page;
  readonly world: World;
  readonly complaints: string[] = [];
  #routed = false;

  constructor(page: Page, world: World) {
    this.page = page;
    this.world = world;
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== world.url) this.complaints.push(`another host: ${request.url()}`);
    });
    page.on("pageerror", (error) => this.complaints.push(`error: ${error.message}`));
    page.on("console", (message) => {
      const text = message.text();
      // A refused request is also a line on the console; the tests that provoke one look at the page instead.
      if (message.type() === "error" && !text.startsWith("Failed to load resource")) this.complaints.push(text);
    });
    page.on("response", (response) => {
      if (response.request().isNavigationRequest() && !response.headers()["content-security-policy"]) {
        this.complaints.push("the page came without a policy");
      }
    });
  }

  async open(): Promise<void> {
    await this.page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
    });
    await this.page.goto(this.world.url);
    await expect(this.page.locator("#model")).not.toHaveValue("");
  }

  /** What the page asks gets these knobs on its way. */
  async knobs(knobs: Knobs): Promise<void> {
    const metadata: Record<string, string> = {};
    if (knobs.tokens !== undefined) metadata["x-sim-tokens"] = String(knobs.tokens);
    if (knobs.ttftMs !== undefined) metadata["x-sim-ttft-ms"] = String(knobs.ttftMs);
    if (knobs.intervalMs !== undefined) metadata["x-sim-interval-ms"] = String(knobs.intervalMs);
    if (knobs.seed !== undefined) metadata["x-sim-seed"] = String(knobs.seed);
    if (this.#routed) await this.page.unrouteAll();
    this.#routed = true;
    const add = async (route: Route): Promise<void> => {
      const body = JSON.parse(route.request().postData() ?? "{}") as Record<string, unknown>;
      const inner = (body["request"] ?? body) as Record<string, unknown>;
      inner["metadata"] = metadata;
      await route.continue({ postData: JSON.stringify(body) });
    };
    const routes = ["/v1/streams", "/v1/chat/completions", "/v1/messages"];
    const posts = (url: URL): boolean => routes.includes(url.pathname);
    await this.page.route(posts, (route) => (route.request().method() === "POST" ? add(route) : route.continue()));
  }

  async ask(prompt: string, how: Asking = {}): Promise<void> {
    const { page } = this;
    await page.locator("#prompt").fill(prompt);
    if (how.model) await page.locator("#model").selectOption(how.model);
    await page.locator(`input[name=mode][value=${how.mode ?? "stream"}]`).check();
    await page.locator(".tools input").setChecked(how.tools ?? false);
    await page.locator(".think input").setChecked(how.think ?? false);
    await page.getByRole("button", { name: "Send" }).click();
  }

  lane(way: "stream" | "whole" = "stream") {
    return this.page.locator(`.lane.${way}`);
  }

  answer(way: "stream" | "whole" = "stream") {
    return this.lane(way).locator("[data-test=answer]");
  }

  async phase(wanted: string, way: "stream" | "whole" = "stream", timeout = 20_000): Promise<void> {
    await expect(this.lane(way)).toHaveAttribute("data-phase", wanted, { timeout });
  }

  /** The answer's text as the DOM has it, to the character. */
  async text(way: "stream" | "whole" = "stream"): Promise<string> {
    return (await this.answer(way).evaluate((element) => element.textContent)) ?? "";
  }

  /** The whole text of the page's stream, as the relay tells another reader. */
  async truth(): Promise<string> {
    const id = await this.lane().getAttribute("data-stream");
    const response = await fetch(`${this.world.url}/v1/streams/${id}/events`);
    const events = new SseDecoder().feed(new Uint8Array(await response.arrayBuffer()));
    const texts = events.filter(({ event }) => event === "text");
    return texts.map(({ data }) => (JSON.parse(data) as { t: string }).t).join("");
  }
}

export async function eventually(question: () => Promise<boolean>, patience = PATIENCE): Promise<void> {
  const deadline = Date.now() + patience;
  for (;;) {
    if (await question().catch(() => false)) return;
    if (Date.now() > deadline) throw new Error(`this never came: ${question}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Its address, from the first line that it prints. */
export function start(processes: ChildProcess[], arguments_: string[]): Promise<string> {
  const environment: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env)) if (!name.endsWith("_API_KEY")) environment[name] = value;
  const child = spawn(PYTHON, arguments_, { stdio: ["ignore", "pipe", "pipe"], env: environment });
  processes.push(child);
  return new Promise((resolve, reject) => {
    let said = "";
    const listen = (chunk: Buffer): void => {
      said += chunk.toString();
      const address = /http:\/\/[^\s/]+/.exec(said);
      if (address) resolve(address[0]);
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (/Traceback/.test(said)) console.error(said);
    });
    child.on("exit", (code) => reject(new Error(`${arguments_.join(" ")} ended with ${code}: ${said}`)));
  });
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  setTimeout(() => child.kill("SIGTERM"), 2000).unref(); // a second signal ends at once
  setTimeout(() => child.kill("SIGKILL"), 6000).unref();
  await gone;
}
