// `make screenshot`: the picture in the README, both halves answering.
import { fileURLToPath } from "node:url";
import { expect, test } from "./world.js";

test.use({ viewport: { width: 1280, height: 760 }, colorScheme: "light" });

test("screenshot", async ({ playground, page }) => {
  await playground.knobs({ tokens: 700, ttftMs: 340, intervalMs: 7, seed: 1 });
  await playground.ask("Tell me of the sea.", { mode: "both", model: "sim/gpt-4o" });
  const total = playground.lane().locator("[data-test=total]");
  await expect(total).toHaveText(/^1\.[2-9]\d s$/);
  await page.screenshot({ path: fileURLToPath(new URL("../../docs/playground.png", import.meta.url)) });
  await page.keyboard.press("Escape");
});
