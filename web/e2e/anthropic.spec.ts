// Models of Anthropic: the list says what they are asked in, also where their upstream speaks both.
import { expect, test } from "./world.js";

test.use({ anthropic: true });

for (const model of ["claude/claude-sonnet-4-5", "two/claude-sonnet-4-5"]) {
  test(`${model} thinks and answers, streamed and not`, async ({ playground, page }) => {
    const asked: string[] = [];
    const refused: string[] = [];
    page.on("request", (request) => {
      const body = request.postData();
      if (body) asked.push(body);
    });
    page.on("response", (response) => {
      if (response.status() >= 400) refused.push(`${response.status()} ${response.url()}`);
    });
    await playground.knobs({ ttftMs: 100, intervalMs: 5 });
    await playground.ask("Tell me of the sea.", { model, mode: "both", think: true });
    await playground.phase("done");
    await playground.phase("done", "whole");
    expect((await playground.text()).length).toBeGreaterThan(100);
    expect(await playground.text()).toBe(await playground.truth());
    await expect(playground.lane().locator("[data-test=verdict]")).toContainText("none lost or doubled");
    for (const way of ["stream", "whole"] as const) {
      await expect(playground.lane(way).locator("[data-test=thoughts]")).not.toBeEmpty();
    }
    expect(refused).toEqual([]); // the page was told, and did not have to try
    expect(asked.filter((body) => body.includes("budget_tokens"))).toHaveLength(2);
  });
}

test("and call tools", async ({ playground }) => {
  await playground.ask("What is the weather in Oslo?", { model: "claude/claude-sonnet-4-5", mode: "both", tools: true });
  for (const way of ["stream", "whole"] as const) {
    await playground.phase("done", way);
    await expect(playground.lane(way).locator("[data-test=arguments]").first()).toContainText("Oslo");
  }
});
