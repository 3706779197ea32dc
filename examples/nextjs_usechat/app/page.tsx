'use client';

import { useChat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';
import { useState } from 'react';

const server = process.env.NEXT_PUBLIC_CHAT_SERVER ?? 'http://localhost:8000';
const id = 'first'; // of the chat: from the address, in your app; after a reload it has to be the same
const headers = { 'x-user': 'me' };
const transport = new DefaultChatTransport({ api: `${server}/api/chat`, headers });

export default function Page() {
  const { messages, sendMessage, status, error, stop } = useChat({ id, transport, resume: true });
  const [input, setInput] = useState('How is the weather in Oslo?');
  const busy = status === 'submitted' || status === 'streaming';

  const stopped = async () => {
    await fetch(`${server}/api/chat/${id}/stop`, { method: 'POST', headers }); // the model
    await stop(); // the page; alone, the model would go on for 15 seconds, in case that somebody comes back
  };

  return (
    <main>
      {messages.map((message) => (
        <article key={message.id}>
          <b>{message.role}</b>
          {message.parts.map((part, index) => {
            if (part.type === 'text') return <p key={index}>{part.text}</p>;
            if (part.type === 'tool-get_weather') return <pre key={index}>{JSON.stringify(part, null, 2)}</pre>;
            return null;
          })}
        </article>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          sendMessage({ text: input });
          setInput('');
        }}
      >
        <input value={input} onChange={(event) => setInput(event.target.value)} />
        <button disabled={busy}>Send</button>
        <button type="button" disabled={!busy} onClick={stopped}>Stop</button>
      </form>
    </main>
  );
}
