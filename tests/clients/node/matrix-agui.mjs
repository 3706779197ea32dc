// npm `@ag-ui/client` in the matrix: node matrix-agui.mjs; see matrix-loop.mjs.
import { HttpAgent } from '@ag-ui/client';
import { serve } from './matrix-loop.mjs';

async function agent({ url, op, task, model, first, results }, out) {
  const asked = { id: 'u1', role: 'user', content: task.prompt };
  const initialMessages = [asked];
  if (op === 'follow') {
    const calls = first.turn.flatMap((message) => message.toolCalls ?? []);
    const told = calls.map(({ id }, at) => ({ id: `r${at}`, role: 'tool', toolCallId: id, content: results[at] }));
    initialMessages.push(...first.turn, ...told);
  }
  const forwardedProps = { model };
  const tools = task.tools ? [{ ...task.tool, parameters: task.parameters }] : [];
  const client = new HttpAgent({ url: `${url}/agui`, initialMessages });
  let declined = false;
  const subscriber = {
    onTextMessageStartEvent: ({ event }) => void (declined = Boolean(event.metadata?.tokenwire?.refusal)),
    onTextMessageContentEvent: ({ event }) => void (out[declined ? 'refusal' : 'text'] += event.delta),
    onReasoningMessageContentEvent: ({ event }) => void (out.reasoning += event.delta),
    onRunErrorEvent: ({ event }) => void (out.error = { kind: event.type, message: event.message }),
    onRunFinishedEvent: ({ event }) => {
      out.finish = event.metadata?.tokenwire?.finishReason ?? null;
      const [usage] = event.usage ?? [];
      if (usage) out.usage = [usage.inputTokens, usage.outputTokens];
    },
  };
  const before = initialMessages.length;
  let thrown = null;
  try {
    await client.runAgent({ tools, forwardedProps }, subscriber);
  } catch (error) {
    thrown = error;
  }
  out.turn = client.messages.slice(before).filter((message) => message.role === 'assistant');
  out.calls = out.turn.flatMap((message) => message.toolCalls ?? []).map((call) => call.function);
  if (thrown && !out.error) throw thrown;
}

await serve({ agent });
