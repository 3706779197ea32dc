// The AI SDK as a reader of UI message streams: node ui-messages.mjs VERSION; see lines.mjs; args: BASE CASE.
import { serve } from './lines.mjs';

const [version] = process.argv.slice(2);
const ai = await import(`ai${version}`);

/** The message that a resumed stream makes, and the errors on the way. */
async function folded(api, chatId) {
  const transport = new ai.DefaultChatTransport({ api });
  const stream = await transport.reconnectToStream({ chatId });
  if (stream === null) return null;
  const errors = [];
  let message = null;
  for await (const state of ai.readUIMessageStream({ stream, onError: (error) => errors.push(error.message) })) {
    message = state;
  }
  return { message, errors };
}

/** What `useChat` is built on, with plain arrays for React's state. */
class Chat extends ai.AbstractChat {
  constructor({ api, messages = [], ...init }) {
    const state = {
      status: 'ready',
      error: undefined,
      messages,
      pushMessage: (message) => void (state.messages = state.messages.concat(message)),
      popMessage: () => void (state.messages = state.messages.slice(0, -1)),
      replaceMessage: (index, message) => void (state.messages = state.messages.with(index, structuredClone(message))),
      snapshot: (value) => structuredClone(value),
    };
    super({ transport: new ai.DefaultChatTransport({ api }), generateId: () => 'made-here', ...init, state });
  }
}

/** A chat after *act*: what its user sees. */
async function after(options, act) {
  const calls = [];
  let finished = null;
  const chat = new Chat({
    ...options,
    onToolCall: ({ toolCall }) => void calls.push([toolCall.toolCallId, toolCall.input]),
    onFinish: ({ finishReason, isError, isAbort }) => void (finished = { finishReason, isError, isAbort }),
  });
  await act(chat);
  return { status: chat.status, error: chat.error?.message ?? null, messages: chat.messages, calls, finished };
}

const cases = {
  // [chatId, …] -> the messages
  fold: async (api, chatIds) => {
    const found = [];
    for (const chatId of chatIds) found.push(await folded(api, chatId));
    return found;
  },
  // {id, messages?, text?} -> the chat
  send: async (api, { text, ...options }) =>
    after({ api, ...options }, (chat) => chat.sendMessage(text === undefined ? undefined : { text })),
  resume: async (api, options) => after({ api, ...options }, (chat) => chat.resumeStream()),
};

await serve(([base, name], input) => cases[name](`${base}/api/chat`, input));
