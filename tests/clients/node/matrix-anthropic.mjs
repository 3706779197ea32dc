// npm `@anthropic-ai/sdk` in the matrix: node matrix-anthropic.mjs; see matrix-loop.mjs.
import Anthropic from '@anthropic-ai/sdk';
import { oncePer, serve } from './matrix-loop.mjs';

const clientAt = oncePer((url) => new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0, timeout: 20_000 }));
const WORDS = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'context_window',
  pause_turn: 'pause',
};

function fieldsOf({ op, task, model, first, results }) {
  const messages = [{ role: 'user', content: task.prompt }];
  if (op === 'follow') {
    const calls = first.turn.filter((block) => block.type === 'tool_use');
    const told = calls.map(({ id }, at) => ({ type: 'tool_result', tool_use_id: id, content: results[at] }));
    messages.push({ role: 'assistant', content: first.turn }, { role: 'user', content: told });
  }
  const fields = { model, max_tokens: 8192, messages };
  if (task.tools) fields.tools = [{ ...task.tool, input_schema: task.parameters }];
  if (task.thinking) fields.thinking = { type: 'enabled', budget_tokens: 2048 };
  if (task.schema) fields.output_config = { format: { type: 'json_schema', schema: task.format } };
  return fields;
}

function input({ input_tokens, cache_creation_input_tokens, cache_read_input_tokens }) {
  return (input_tokens ?? 0) + (cache_creation_input_tokens ?? 0) + (cache_read_input_tokens ?? 0);
}

function keep({ content, stop_reason, stop_details, usage }, out) {
  const of = (type) => content.filter((block) => block.type === type);
  out.text = of('text').map((block) => block.text).join('');
  out.reasoning = of('thinking').map((block) => block.thinking).join('');
  out.calls = of('tool_use').map(({ name, input: made }) => ({ name, arguments: made }));
  out.finish = WORDS[stop_reason] ?? stop_reason;
  out.refusal = stop_details?.explanation ?? '';
  out.usage = [input(usage), usage.output_tokens];
  out.turn = content;
}

async function messages(request, out) {
  const client = clientAt(request.url);
  const fields = fieldsOf(request);
  if (!request.task.stream) return keep(await client.messages.create(fields), out);
  const blocks = [];
  for await (const event of await client.messages.create({ ...fields, stream: true })) {
    if (event.type === 'content_block_start') blocks[event.index] = { ...event.content_block, json: '' };
    else if (event.type === 'content_block_delta') {
      const { delta } = event;
      if (delta.type === 'text_delta') {
        blocks[event.index].text += delta.text;
        out.text += delta.text;
      } else if (delta.type === 'thinking_delta') {
        blocks[event.index].thinking += delta.thinking;
        out.reasoning += delta.thinking;
      } else if (delta.type === 'signature_delta') blocks[event.index].signature = delta.signature;
      else if (delta.type === 'input_json_delta') blocks[event.index].json += delta.partial_json;
    } else if (event.type === 'message_delta') {
      out.finish = WORDS[event.delta.stop_reason] ?? event.delta.stop_reason;
      out.refusal = event.delta.stop_details?.explanation ?? '';
      out.usage = [input(event.usage), event.usage.output_tokens];
    }
  }
  out.turn = blocks.map(({ json, ...block }) => (block.type === 'tool_use' ? { ...block, input: JSON.parse(json || '{}') } : block));
  out.calls = out.turn.filter((block) => block.type === 'tool_use').map((block) => ({ name: block.name, arguments: block.input }));
}

async function helper(request, out) {
  const stream = clientAt(request.url).messages.stream(fieldsOf(request));
  stream.on('text', (delta) => (out.text += delta));
  keep(await stream.finalMessage(), out);
}

await serve({ messages, helper }, Anthropic);
