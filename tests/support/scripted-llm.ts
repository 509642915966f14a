/**
 * A model whose answers are written down: an OpenAI-compatible chat-completions server, streaming or not. The only part
 * of an end-to-end test that is not real. As a LiteLLM model it is `openai/scripted` with the base URL `llm.url`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { listen, originOf, portOf, stop } from './loopback.js';

export interface ScriptedToolCall {
  name: string;
  arguments: Record<string, unknown>;
}

/** One answer. */
export interface ScriptStep {
  text?: string;
  reasoning?: string;
  toolCalls?: readonly ScriptedToolCall[];
  /** Answers with this HTTP status and an error body instead. */
  status?: number;
  /** Message of that error body. */
  error?: string;
  headers?: Record<string, string>;
  /** Answers nothing until `release` is called with this name. */
  hold?: string;
  /** Closes the connection without an answer. */
  drop?: boolean;
  /** Milliseconds between two pieces of a streamed answer. */
  pieceDelayMs?: number;
}

export interface Script {
  /**
   * The step that answers is found from the request alone, so that conversations do not disturb each other: its number
   * is that of the assistant messages after the last user message.
   */
  steps?: readonly ScriptStep[];
  /** Other lists of steps, chosen by `[[script:name]]` in a user message. */
  named?: Readonly<Record<string, readonly ScriptStep[]>>;
  /** What is answered when the steps have run out; `Done.` if left out. */
  afterwards?: ScriptStep;
  /** What requests without tools get, which ask for a title or a summary; `Scripted title` if left out. */
  withoutTools?: ScriptStep;
}

interface ChatMessage {
  role: string;
  content?: unknown;
}

/** A request as it was received. */
export interface ScriptedCall {
  body: {
    model?: string;
    messages: ChatMessage[];
    tools?: { function?: { name?: string } }[];
    stream?: boolean;
    stream_options?: { include_usage?: boolean };
  };
  /** The key it came with. */
  authorization: string | undefined;
}

export interface ScriptedLlm {
  /** Base URL, ending in `/v1`. */
  url: string;
  port: number;
  /** All requests so far, oldest first. */
  calls: readonly ScriptedCall[];
  setScript(script: Script): void;
  /** Lets go whatever is held, now and later, under this name. */
  release(name: string): void;
  close(): Promise<void>;
}

const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
const PIECE_CHARACTERS = 24;

/** A step that calls one tool. */
export const callTool = (name: string, toolArguments: Record<string, unknown>): ScriptStep => ({
  toolCalls: [{ name, arguments: toolArguments }],
});
/** The step that ends a run with a message. */
export const finish = (message: string): ScriptStep => callTool('finish', { message });
/** A step that runs a command in the terminal. */
export const runInTerminal = (command: string): ScriptStep => callTool('terminal', { command });

/** @param port 0 takes a free one. */
export async function startScriptedLlm(script: Script = {}, port = 0): Promise<ScriptedLlm> {
  const calls: ScriptedCall[] = [];
  const gates = new Map<string, PromiseWithResolvers>();
  let current = script;
  const gate = (name: string) => {
    const known = gates.get(name) ?? resolvable();
    gates.set(name, known);
    return known;
  };

  async function complete(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse(await readBody(request)) as ScriptedCall['body'];
    calls.push({ body, authorization: request.headers.authorization });
    const step = chooseStep(current, body);
    if (step.hold !== undefined) {
      const closed = new Promise<void>((resolve) => response.once('close', resolve));
      await Promise.race([gate(step.hold).promise, closed]);
    }
    if (step.drop === true) {
      request.socket.destroy();
    } else if (step.status !== undefined) {
      const error = {
        message: step.error ?? 'scripted error',
        type: 'scripted_error',
        code: String(step.status),
      };
      sendJson(response, step.status, { error }, step.headers);
    } else {
      await answer(response, body, step, calls.length);
    }
  }

  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    if (request.method === 'GET' && pathname === '/v1/models') {
      sendJson(response, 200, { object: 'list', data: [{ id: 'scripted', object: 'model' }] });
    } else if (request.method === 'POST' && pathname === '/v1/chat/completions') {
      complete(request, response).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else sendJson(response, 400, { error: { message: String(error), type: 'invalid_request_error' } });
      });
    } else {
      sendJson(response, 404, { error: { message: `no route for ${pathname}`, type: 'not_found' } });
    }
  });
  await listen(server, port);
  return {
    url: `${originOf(server)}/v1`,
    port: portOf(server),
    calls,
    setScript: (next) => {
      current = next;
    },
    release: (name) => gate(name).resolve(),
    close: () => stop(server),
  };
}

interface PromiseWithResolvers {
  promise: Promise<void>;
  resolve: () => void;
}

function resolvable(): PromiseWithResolvers {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** The step that answers a request. */
export function chooseStep(
  script: Script,
  body: Pick<ScriptedCall['body'], 'messages' | 'tools'>,
): ScriptStep {
  if (!body.tools?.length) return script.withoutTools ?? { text: 'Scripted title' };
  const users = body.messages.filter(({ role }) => role === 'user');
  const names = users.flatMap(({ content }) => [
    ...contentText(content).matchAll(/\[\[script:([\w.-]+)\]\]/g),
  ]);
  const named = names.map(([, name]) => script.named?.[name ?? '']).findLast((steps) => steps !== undefined);
  const lastUser = body.messages.findLastIndex(({ role }) => role === 'user');
  const turn = body.messages.slice(lastUser + 1).filter(({ role }) => role === 'assistant').length;
  return (named ?? script.steps ?? [])[turn] ?? script.afterwards ?? { text: 'Done.' };
}

/** The text of a chat message, whose content may be a list of parts. */
export function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: { text?: unknown }) => (typeof part.text === 'string' ? part.text : ''))
    .join('\n');
}

async function answer(
  response: ServerResponse,
  body: ScriptedCall['body'],
  step: ScriptStep,
  number: number,
): Promise<void> {
  const toolCalls = (step.toolCalls ?? []).map((call, position) => ({
    id: `call_${number}_${position}`,
    type: 'function',
    function: { name: call.name, arguments: JSON.stringify(call.arguments) },
  }));
  const content = step.text ?? (toolCalls.length > 0 ? null : '');
  const finishReason = toolCalls.length > 0 ? 'tool_calls' : 'stop';
  const common = {
    id: `chatcmpl-scripted-${number}`,
    created: Math.floor(Date.now() / 1000),
    model: body.model,
  };

  if (body.stream !== true) {
    const message = {
      role: 'assistant',
      content,
      ...(step.reasoning === undefined ? {} : { reasoning_content: step.reasoning }),
      ...(toolCalls.length > 0 ? { tool_calls: toolCalls } : {}),
    };
    const choices = [{ index: 0, message, finish_reason: finishReason }];
    sendJson(response, 200, { ...common, object: 'chat.completion', choices, usage: USAGE }, step.headers);
    return;
  }

  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    ...step.headers,
  });
  const send = (data: unknown) => response.write(`data: ${JSON.stringify(data)}\n\n`);
  const sendDelta = async (delta: Record<string, unknown>, reason: string | null = null) => {
    const choices = [{ index: 0, delta, finish_reason: reason }];
    send({ ...common, object: 'chat.completion.chunk', choices });
    if (step.pieceDelayMs !== undefined) await sleep(step.pieceDelayMs);
  };
  await sendDelta({ role: 'assistant', content: '' });
  for (const piece of pieces(step.reasoning ?? '')) await sendDelta({ reasoning_content: piece });
  for (const piece of pieces(content ?? '')) await sendDelta({ content: piece });
  for (const [index, { function: called, ...call }] of toolCalls.entries()) {
    await sendDelta({ tool_calls: [{ index, ...call, function: { name: called.name, arguments: '' } }] });
    for (const piece of pieces(called.arguments)) {
      await sendDelta({ tool_calls: [{ index, function: { arguments: piece } }] });
    }
  }
  await sendDelta({}, finishReason);
  if (body.stream_options?.include_usage === true) {
    send({ ...common, object: 'chat.completion.chunk', choices: [], usage: USAGE });
  }
  response.end('data: [DONE]\n\n');
}

const pieces = (text: string): string[] => text.match(new RegExp(`[^]{1,${PIECE_CHARACTERS}}`, 'g')) ?? [];

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}
