// npm `ai` in the matrix, as `useChat` uses it: node matrix-ai.mjs ai5 | ai6 | ai7; see matrix-loop.mjs.
// The transport that useChat has unless it is given another, and the reader that makes messages of what it brings.
import { serve } from './matrix-loop.mjs';

const [version] = process.argv.slice(2);
const { DefaultChatTransport, readUIMessageStream } = await import(version);
const WORDS = { 'tool-calls': 'tool_use', 'content-filter': 'content_filter', other: 'unknown' };
let chats = 0;

async function chat({ url, op, task, model, first, results }, out) {
  const asked = { id: 'u1', role: 'user', parts: [{ type: 'text', text: task.prompt }] };
  const messages = [asked];
  let at = 0;
  if (op === 'follow') {
    const done = (part) =>
      part.state === 'input-available' ? { ...part, state: 'output-available', output: results[at++] } : part;
    messages.push({ ...first.turn, parts: first.turn.parts.map(done) });
  }
  const body = { model };
  if (task.tools) body.tools = [{ ...task.tool, parameters: task.parameters }];
  const transport = new DefaultChatTransport({ api: `${url}/api/chat`, body });
  const stream = await transport.sendMessages({
    trigger: 'submit-message',
    chatId: `chat-${process.pid}-${version}-${(chats += 1)}`,
    messageId: undefined,
    messages,
    abortSignal: undefined,
  });
  const seen = new TransformStream({
    transform(chunk, controller) {
      if (chunk.type === 'finish') {
        // Old versions 5 have no reason of their own, and take it for the application's.
        const { usage, finishReason } = chunk.messageMetadata ?? {};
        const word = chunk.finishReason ?? finishReason ?? null;
        out.finish = WORDS[word] ?? word;
        if (usage) out.usage = [usage.inputTokens, usage.outputTokens];
      }
      if (chunk.type === 'error') out.error = { kind: 'error', message: chunk.errorText };
      if (chunk.type === 'abort') out.error = { kind: 'abort', message: chunk.reason ?? '' };
      controller.enqueue(chunk);
    },
  });
  const broken = [];
  let last = null;
  const read = readUIMessageStream({ stream: stream.pipeThrough(seen), onError: (error) => broken.push(error) });
  for await (const message of read) last = message;
  if (last) keep(last, out);
  if (broken.length && !out.error) throw broken[0];
}

function keep(message, out) {
  const of = (type) => message.parts.filter((part) => part.type === type);
  const declined = (part) => Boolean(part.providerMetadata?.tokenwire?.refusal);
  const joined = (parts) => parts.map((part) => part.text).join('');
  out.text = joined(of('text').filter((part) => !declined(part)));
  out.refusal = joined(of('text').filter(declined));
  out.reasoning = joined(of('reasoning'));
  const calls = message.parts.filter((part) => part.type.startsWith('tool-') || part.type === 'dynamic-tool');
  out.calls = calls.filter((part) => part.state === 'input-available').map((part) => ({
    name: part.toolName ?? part.type.slice('tool-'.length),
    arguments: part.input,
  }));
  out.turn = message;
}

await serve({ chat });
