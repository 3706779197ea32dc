import { expect, test } from "./world.js";

test("the policy holds: no inline script, no other host, no frame", async ({ playground, page, world }) => {
  const policy = (await (await fetch(world.url, { headers: { accept: "text/html" } })).headers.get("content-security-policy")) ?? "";
  for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]) {
    expect(policy).toContain(rule);
  }
  const refused = await page.evaluate(async () => {
    const violations: string[] = [];
    addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
    const tried: string[] = [];
    try {
      document.body.innerHTML += "<b>markup</b>"; // Trusted Types
    } catch {
      tried.push("markup");
    }
    try {
      await fetch("http://127.0.0.1:9/"); // another origin
    } catch {
      tried.push("fetch");
    }
    await new Promise((resolve) => setTimeout(resolve));
    return { tried, violations };
  });
  expect(refused.tried).toEqual(["markup", "fetch"]);
  expect(refused.violations).toEqual(["require-trusted-types-for", "connect-src"]);
  playground.complaints.length = 0; // these were ours
});

test("the keyboard does everything, and shows where it is", async ({ playground, page }) => {
  await playground.knobs({ tokens: 500, ttftMs: 20, intervalMs: 10 });
  const visited: string[] = [];
  await page.locator("body").press("Tab");
  for (let i = 0; i < 12; i++) {
    const here = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const shown = element.matches(".segments input") ? (element.nextElementSibling as HTMLElement) : element;
      const style = getComputedStyle(shown);
      return { what: element.id || element.textContent || (element as HTMLInputElement).name || element.className, outline: style.outlineStyle };
    });
    expect(here.outline, `focus on ${here.what}`).not.toBe("none");
    visited.push(here.what.trim());
    if (here.what.startsWith("Send")) break;
    await page.keyboard.press("Tab");
  }
  expect(visited).toContain("prompt");
  expect(visited).toContain("model");
  expect(visited.at(-1)).toMatch(/^Send/);
  await page.locator("#prompt").focus();
  await page.keyboard.press("Control+Enter");
  await playground.phase("answering");
  await page.keyboard.press("Escape");
  await playground.phase("stopped");
  await page.keyboard.press("Control+Enter");
  await playground.phase("answering");
  await page.keyboard.press("Escape");
  await playground.phase("stopped");
});

test("light and dark: as the system says, unless chosen otherwise", async ({ playground: _, page }) => {
  const paper = (): Promise<string> => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.emulateMedia({ colorScheme: "light" });
  const light = await paper();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await paper();
  expect(dark).not.toBe(light);
  await page.locator("input[name=theme][value=light]").check();
  expect(await paper()).toBe(light);
  await page.reload();
  expect(await paper()).toBe(light);
  await page.emulateMedia({ colorScheme: "light" });
  await page.locator("input[name=theme][value=dark]").check();
  expect(await paper()).toBe(dark);
});

test("text can be read against its background in both schemes", async ({ playground, page }) => {
  await playground.ask("a table", { model: "sim/instant", mode: "both" });
  await playground.phase("done");
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const poor = await page.evaluate(() => {
      const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
      const rgb = (color: string, under: number[]): number[] => {
        canvas.fillStyle = `rgb(${under.join(" ")})`;
        canvas.fillRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
      };
      const luminance = (color: number[]): number => {
        const [r = 0, g = 0, b = 0] = color.map((value) => {
          const share = value / 255;
          return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const poor: string[] = [];
      for (const element of document.querySelectorAll<HTMLElement>("#app *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim());
        if (!own || element.closest("button:disabled, .unseen, option, optgroup")) continue;
        const above: Element[] = [];
        for (let each: Element | null = element; each; each = each.parentElement) above.unshift(each);
        let ground = [255, 255, 255];
        for (const each of above) ground = rgb(getComputedStyle(each).backgroundColor, ground);
        const ink = rgb(getComputedStyle(element).color, ground);
        const [dark = 0, bright = 0] = [luminance(ground), luminance(ink)].sort((a, b) => a - b);
        const ratio = (bright + 0.05) / (dark + 0.05);
        if (ratio < 4.5) poor.push(`${element.className} ${element.textContent?.slice(0, 30)}: ${ratio.toFixed(2)}`);
      }
      return poor;
    });
    expect(poor, colorScheme).toEqual([]); // WCAG 1.4.3
  }
});

test("with reduced motion nothing blinks", async ({ playground, page }) => {
  await playground.knobs({ tokens: 200, ttftMs: 50, intervalMs: 20 });
  await playground.ask("Tell me of the sea.");
  await playground.phase("answering");
  const blinking = (): Promise<string> =>
    playground.answer().locator(".line").last().evaluate((line) => getComputedStyle(line, "::after").animationName);
  expect(await blinking()).toBe("blink");
  await page.emulateMedia({ reducedMotion: "reduce" });
  expect(await blinking()).toBe("none");
  await page.keyboard.press("Escape");
  await playground.phase("stopped");
});

test("screen readers hear of the answer apart from its tokens", async ({ playground, page }) => {
  await playground.knobs({ tokens: 60, ttftMs: 50, intervalMs: 20 });
  await playground.ask("Tell me of the sea.");
  const announcer = page.locator("[data-test=announcer]");
  await expect(announcer).toHaveText("Generating.");
  await expect(playground.lane().getByRole("log")).toHaveAttribute("aria-live", "off");
  await expect(playground.lane().getByRole("log")).toHaveAttribute("aria-busy", "true");
  await playground.phase("done");
  await expect(announcer).toHaveText(/The answer is complete: \d+ words\./);
  await expect(playground.lane().getByRole("log")).toHaveAttribute("aria-busy", "false");
});

test("thinking and tool calls are seen as they come", async ({ playground, page, world }) => {
  const words = "Two cities, so two calls. ".repeat(4).split(/(?<= )/);
  world.scripted.script = {
    deltas: [
      ...words.map((reasoning_content) => ({ reasoning_content })),
      { content: "Let me " },
      { content: "look." },
      { tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "get_weather", arguments: "" } }] },
      ...['{"ci', 'ty":"Os', 'lo"}'].map((text) => ({ tool_calls: [{ index: 0, function: { arguments: text } }] })),
    ],
    pause: 30,
    finish: "tool_calls",
  };
  await playground.ask("What is the weather in Oslo?", { model: "scripted/thinker", tools: true });
  await playground.phase("thinking");
  const thinking = playground.lane().locator("[data-test=thinking]");
  await expect(thinking).toHaveAttribute("open", "");
  await expect(thinking.locator("[data-test=thoughts]")).toContainText("Two cities");
  await playground.phase("done");
  await expect(thinking).not.toHaveAttribute("open", "");
  await thinking.locator("summary").click();
  await expect(thinking).toHaveAttribute("open", "");
  await expect(thinking.locator("[data-test=thoughts]")).toHaveText(words.join("").trim());
  expect(await playground.text()).toBe("Let me look.");
  const tool = playground.lane().locator("[data-test=tool]");
  await expect(tool).toContainText("get_weather");
  await expect(tool.locator("[data-test=arguments]")).toHaveText('{"city":"Oslo"}');
  await page.reload(); // and they are still there
  await expect(tool.locator("[data-test=arguments]")).toHaveText('{"city":"Oslo"}');
  await expect(playground.lane().locator("[data-test=thinking]")).toHaveCount(1);
});

for (const [fault, what, text] of [
  ["fault-error-before", "an HTTP error", false],
  ["fault-429", "a rate limit", false],
  ["fault-error-mid", "an error in mid-stream", true],
  ["fault-cut", "an answer that is cut", true],
] as const) {
  test(`${what} is told`, async ({ playground }) => {
    await playground.ask("Tell me of the sea.", { model: `sim/${fault}`, mode: "both" });
    for (const way of ["stream", "whole"] as const) {
      await playground.phase("failed", way);
      await expect(playground.lane(way).locator("[data-test=failure] strong")).not.toBeEmpty();
    }
    expect((await playground.text()).length > 0).toBe(text); // what came before stays
  });
}

test("curl gets text where a browser gets the page", async ({ world }) => {
  const text = await (await fetch(world.url)).text();
  expect(text).toContain("POST /v1/chat/completions");
  expect(text).toContain("in a browser: the playground");
});

test("a narrow window scrolls down only", async ({ playground, page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  const wide = (): Promise<string[]> =>
    page.evaluate(() => {
      const root = document.documentElement;
      if (root.scrollWidth <= innerWidth) return [];
      const beyond = [...document.querySelectorAll("#app *")].filter((each) => each.getBoundingClientRect().right > innerWidth);
      return [`${root.scrollWidth} px`, ...beyond.map((each) => `${each.tagName} ${each.className}`)];
    });
  expect(await wide()).toEqual([]);
  const [title, themes] = await Promise.all([page.locator(".top h1").boundingBox(), page.locator(".themes").boundingBox()]);
  const beside = (themes?.x ?? 0) - ((title?.x ?? 0) + (title?.width ?? 0));
  const below = (themes?.y ?? 0) - ((title?.y ?? 0) + (title?.height ?? 0));
  expect(Math.max(beside, below)).toBeGreaterThanOrEqual(6);
  await playground.ask("some Python code", { model: "sim/instant", mode: "both" });
  await playground.phase("done");
  await playground.phase("done", "whole");
  expect(await wide()).toEqual([]);
});

test("an answer in one piece opens at its top, a stream ends at its end", async ({ playground, page }) => {
  await page.setViewportSize({ width: 1360, height: 500 });
  await playground.knobs({ tokens: 1500, ttftMs: 20, intervalMs: 0 });
  await playground.ask("Tell me of the sea.", { mode: "both" });
  await playground.phase("done");
  await playground.phase("done", "whole");
  const scroll = (way: "stream" | "whole") =>
    playground.lane(way).locator(".scroll").evaluate((box) => ({ top: box.scrollTop, more: box.scrollHeight - box.clientHeight }));
  await expect.poll(async () => (await scroll("stream")).top).toBeGreaterThan(100);
  await expect.poll(async () => (await scroll("whole")).more).toBeGreaterThan(100);
  expect((await scroll("whole")).top).toBe(0);
});

test("code keeps its lines: a block scrolls sideways", async ({ playground }) => {
  await playground.ask("some Python code", { model: "sim/instant" });
  await playground.phase("done");
  const block = playground.answer().locator(".block").first();
  await expect(block.locator(".line").first()).toHaveCSS("white-space", "pre");
  await expect(block).toHaveCSS("overflow-x", "auto");
  expect(await playground.text()).toBe(await playground.truth());
});
