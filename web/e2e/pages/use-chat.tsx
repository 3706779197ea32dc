/** @jsxImportSource react */
// A chat as applications have it: the AI SDK's hook as it comes, messages kept from visit to visit, one tool that runs
// in the page. Which major version of the SDK this is, the build says (app.ts). Its state is in the DOM, as JSON.
import { type UIMessage, useChat } from "ai-react7";
import { useEffect } from "react";
import { createRoot } from "react-dom/client";

/** What the tests read. `calls`: ids of the tool calls that were run, in all visits together. */
export interface Shown {
  status: string;
  error: string | null;
  messages: UIMessage[];
  calls: string[];
}

const query = new URLSearchParams(location.search);
const id = query.get("chat") ?? "c1";
/** `all`: the page keeps half an answer too; `asked`: only what the user said. */
const keep = query.get("keep") ?? "all";

function kept<T>(name: string, otherwise: T): T {
  const found = localStorage.getItem(`${name}:${id}`);
  return found === null ? otherwise : (JSON.parse(found) as T);
}

/** After results of tools, and nothing after these: they go to the model. */
function answered({ messages }: { messages: UIMessage[] }): boolean {
  const last = messages.at(-1)?.parts.at(-1) as { state?: string; toolCallId?: string } | undefined;
  return last?.toolCallId !== undefined && last.state === "output-available";
}

function Chat() {
  const chat = useChat({
    id,
    messages: kept<UIMessage[]>("messages", []),
    resume: true,
    onToolCall: ({ toolCall }) => {
      const { toolCallId, toolName, input } = toolCall;
      localStorage.setItem(`calls:${id}`, JSON.stringify([...kept<string[]>("calls", []), toolCallId]));
      const output = { degrees: 12, asked: input };
      void add({ tool: toolName, toolCallId, output } as Parameters<typeof add>[0]);
    },
    sendAutomaticallyWhen: answered,
  });
  const add = chat.addToolOutput ?? chat.addToolResult; // its name until version 6
  useEffect(() => {
    const { messages } = chat;
    localStorage.setItem(`messages:${id}`, JSON.stringify(keep === "all" ? messages : messages.filter(({ role }) => role === "user")));
  }, [chat.messages]);
  const shown: Shown = { status: chat.status, error: chat.error?.message ?? null, messages: chat.messages, calls: kept("calls", []) };
  return (
    <>
      <button type="button" onClick={() => void chat.sendMessage({ text: query.get("ask") ?? "hi" })}>Send</button>
      <button type="button" onClick={() => void chat.resumeStream()}>Resume</button>
      <button type="button" onClick={() => void fetch(`/api/chat/${id}/stop`, { method: "POST" })}>Stop</button>
      <pre>{JSON.stringify(shown)}</pre>
    </>
  );
}

const root = document.createElement("main");
document.body.append(root);
createRoot(root).render(<Chat />);
