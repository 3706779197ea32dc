// npm `openai` in the matrix: node matrix-openai.mjs; see matrix-loop.mjs.
import OpenAI from 'openai';
import { oncePer, serve } from './matrix-loop.mjs';

const clientAt = oncePer((url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 20_000 }));
const finishOf = (word) => (word === 'tool_calls' ? 'tool_use' : word);

// Chat completions

function chatFields({ op, task, model, first, results }) {
  const messages = [{ role: 'user', content: task.prompt }];
  if (op === 'follow') {
    messages.push(first.turn);
    first.turn.tool_calls.forEach(({ id }, at) => messages.push({ role: 'tool', tool_call_id: id, content: results[at] }));
  }
  const fields = { model, messages };
  if (task.tools) fields.tools = [{ type: 'function', function: { ...task.tool, parameters: task.parameters, strict: true } }];
  if (task.thinking) fields.reasoning_effort = 'high';
  if (task.schema) {
    fields.response_format = { type: 'json_schema', json_schema: { name: 'trip', strict: true, schema: task.format } };
  }
  return fields;
}

function keepChat(completion, out) {
  const { message, finish_reason } = completion.choices[0];
  out.text = message.content ?? '';
  out.reasoning = message.reasoning_content ?? '';
  out.refusal = message.refusal ?? '';
  out.finish = finishOf(finish_reason);
  out.calls = (message.tool_calls ?? []).map((call) => call.function);
  const { role, content, tool_calls } = message;
  out.turn = { role, content, tool_calls: tool_calls?.map(({ id, type, function: made }) => ({
    id, type, function: { name: made.name, arguments: made.arguments },
  })) };
  if (completion.usage) out.usage = [completion.usage.prompt_tokens, completion.usage.completion_tokens];
}

async function chat(request, out) {
  const client = clientAt(request.url);
  const fields = chatFields(request);
  if (!request.task.stream) return keepChat(await client.chat.completions.create(fields), out);
  const made = [];
  const asked = { ...fields, stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await client.chat.completions.create(asked)) {
    if (chunk.usage) out.usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
    for (const { delta, finish_reason } of chunk.choices) {
      out.text += delta.content ?? '';
      out.reasoning += delta.reasoning_content ?? '';
      out.refusal += delta.refusal ?? '';
      out.finish = finishOf(finish_reason) ?? out.finish;
      for (const { index, id, function: part } of delta.tool_calls ?? []) {
        const call = (made[index] ??= { id, type: 'function', function: { name: '', arguments: '' } });
        call.function.name += part?.name ?? '';
        call.function.arguments += part?.arguments ?? '';
      }
    }
  }
  out.calls = made.map((call) => call.function);
  out.turn = { role: 'assistant', content: out.text || null, tool_calls: made };
}

async function chatHelper(request, out) {
  const client = clientAt(request.url);
  const fields = chatFields(request);
  if (!request.task.stream) return keepChat(await client.chat.completions.parse(fields), out);
  const stream = client.chat.completions.stream({ ...fields, stream_options: { include_usage: true } });
  stream.on('content', (delta) => (out.text += delta));
  keepChat(await stream.finalChatCompletion(), out);
}

// Responses

function responseFields({ op, task, model, first, results }) {
  const input = [{ role: 'user', content: task.prompt }];
  if (op === 'follow') {
    input.push(...first.turn);
    const calls = first.turn.filter((item) => item.type === 'function_call');
    calls.forEach(({ call_id }, at) => input.push({ type: 'function_call_output', call_id, output: results[at] }));
  }
  const fields = { model, input, store: false };
  if (task.tools) fields.tools = [{ type: 'function', ...task.tool, parameters: task.parameters, strict: true }];
  if (task.thinking) fields.reasoning = { effort: 'high', summary: 'auto' };
  if (task.schema) fields.text = { format: { type: 'json_schema', name: 'trip', strict: true, schema: task.format } };
  return fields;
}

function endResponse(response, out) {
  if (response.error) out.error ??= { kind: `response.${response.status}`, message: response.error.message };
  out.calls = response.output.filter((item) => item.type === 'function_call');
  out.turn = response.output.map(({ parsed_arguments, ...item }) => item);
  if (response.usage) out.usage = [response.usage.input_tokens, response.usage.output_tokens];
  const reason = response.incomplete_details?.reason;
  if (reason) out.finish = reason === 'max_output_tokens' ? 'length' : reason;
  else if (response.status === 'completed') out.finish = out.calls.length ? 'tool_use' : 'stop';
}

function keepResponse(response, out) {
  const parts = response.output.flatMap((item) => (item.type === 'message' ? item.content : []));
  const thoughts = response.output.flatMap((item) =>
    item.type === 'reasoning' ? (item.content?.length ? item.content : item.summary) : []);
  out.text = parts.map((part) => part.text ?? '').join('');
  out.refusal = parts.map((part) => part.refusal ?? '').join('');
  out.reasoning = thoughts.map((part) => part.text).join('\n\n');
  endResponse(response, out);
}

async function responses(request, out) {
  const client = clientAt(request.url);
  const fields = responseFields(request);
  if (!request.task.stream) return keepResponse(await client.responses.create(fields), out);
  for await (const event of await client.responses.create({ ...fields, stream: true })) foldResponse(event, out);
}

function foldResponse(event, out) {
  if (event.type === 'response.output_text.delta') out.text += event.delta;
  else if (event.type === 'response.reasoning_summary_part.added' && event.summary_index > 0) out.reasoning += '\n\n';
  else if (event.type === 'response.reasoning_summary_text.delta') out.reasoning += event.delta;
  else if (event.type === 'response.reasoning_text.delta') out.reasoning += event.delta;
  else if (event.type === 'response.refusal.delta') out.refusal += event.delta;
  else if (event.type === 'error') out.error ??= { kind: 'error', message: event.message };
  else if (event.type === 'response.failed') {
    out.error ??= { kind: 'response.failed', message: event.response.error?.message ?? '' };
  } else if (event.type === 'response.completed' || event.type === 'response.incomplete') {
    endResponse(event.response, out);
  }
}

async function responsesHelper(request, out) {
  const client = clientAt(request.url);
  const fields = responseFields(request);
  if (!request.task.stream) return keepResponse(await client.responses.parse(fields), out);
  const stream = client.responses.stream(fields);
  stream.on('response.output_text.delta', ({ delta }) => (out.text += delta));
  keepResponse(await stream.finalResponse(), out);
}

await serve({ chat, 'chat-helper': chatHelper, responses, 'responses-helper': responsesHelper }, OpenAI);
