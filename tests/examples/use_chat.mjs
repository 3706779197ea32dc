// The page of examples/nextjs_usechat without React: node use_chat.mjs VERSION; see lines.mjs; args: SERVER ACT.
import { createRequire } from 'node:module';
import { serve } from '../clients/node/lines.mjs';

const [version] = process.argv.slice(2);
const here = createRequire(new URL('../clients/node/', import.meta.url));
const ai = await import(here.resolve(`ai${version}`));

class Chat extends ai.AbstractChat {
  constructor(init) {
    const state = {
      status: 'ready',
      error: undefined,
      messages: [],
      pushMessage: (message) => void (state.messages = state.messages.concat(message)),
      popMessage: () => void (state.messages = state.messages.slice(0, -1)),
      replaceMessage: (index, message) => void (state.messages = state.messages.with(index, structuredClone(message))),
      snapshot: (value) => structuredClone(value),
    };
    super({ ...init, state });
    this.seen = state;
  }

  text() {
    const parts = this.seen.messages.at(-1)?.parts ?? [];
    return parts.filter(({ type }) => type === 'text').map(({ text }) => text).join('');
  }

  async grown(length) {
    while (this.text().length < length) await new Promise((resolve) => setTimeout(resolve, 5));
    return this.text();
  }

  result(more = {}) {
    return { status: this.status, error: this.error?.message ?? null, messages: this.messages, ...more };
  }
}

const acts = {
  /** Two questions of one conversation. */
  talk: async (chat, { texts }) => {
    const one = chat();
    for (const text of texts) await one.sendMessage({ text });
    return one.result();
  },
  /** The page is left in the middle, and opened again. */
  reload: async (chat, { text }) => {
    const first = chat();
    const sent = first.sendMessage({ text });
    const before = await first.grown(40);
    await first.stop();
    await sent;
    const second = chat();
    await second.resumeStream();
    return second.result({ before });
  },
  stop: async (chat, { text }, { server, id, headers }) => {
    const one = chat();
    const sent = one.sendMessage({ text });
    await one.grown(40);
    const answer = await (await fetch(`${server}/api/chat/${id}/stop`, { method: 'POST', headers })).json();
    await sent;
    const after = chat();
    await after.resumeStream();
    return one.result({ answer, left: after.messages.length });
  },
};

await serve(async ([server, act, id], given) => {
  const headers = { 'x-user': given.user ?? 'me' };
  const transport = new ai.DefaultChatTransport({ api: `${server}/api/chat`, headers });
  return acts[act](() => new Chat({ id, transport }), given, { server, id, headers });
});
