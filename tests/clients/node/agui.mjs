// AG-UI's client as a reader of runs: node agui.mjs BASE, paths as JSON on stdin -> one line of JSON.
import { HttpAgent } from '@ag-ui/client';

const [base] = process.argv.slice(2);

async function input() {
  let text = '';
  for await (const piece of process.stdin) text += piece;
  return JSON.parse(text);
}

const warnings = [];
console.warn = (...words) => void warnings.push(words.join(' '));
console.error = () => {};

/** What one run leaves behind. */
async function run({ path, messages = [], ...parameters }) {
  const agent = new HttpAgent({ url: base + path, threadId: 'thread-of-mine', initialMessages: messages });
  const out = { error: null, status: null, payload: null, custom: [], ends: [], calls: [], failed: null };
  const subscriber = {
    onCustomEvent: ({ event }) => void out.custom.push([event.name, event.value]),
    onToolCallEndEvent: ({ event, toolCallName, toolCallArgs }) =>
      void out.calls.push([event.toolCallId, toolCallName, toolCallArgs]),
    onRunFinishedEvent: ({ event }) => void out.ends.push(event),
    onRunErrorEvent: ({ event }) => void out.ends.push(event),
    onRunFailed: ({ error }) => void (out.failed = error.message),
  };
  try {
    await agent.runAgent({ runId: 'run-of-mine', ...parameters }, subscriber);
  } catch (error) {
    out.error = error.message;
    out.status = error.status ?? null;
    out.payload = error.payload ?? null;
  }
  return { ...out, messages: agent.messages };
}

const found = [];
for (const job of await input()) found.push(await run(job));
process.stdout.write(JSON.stringify({ runs: found, warnings }) + '\n');
