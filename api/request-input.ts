/** Reads path, query and body of a request for the schemas of a route. */
import express, { type Request, type RequestHandler } from 'express';
import { z } from 'zod';
import { RequestValidationError, validationDetails, type InputPlace } from './validation-error.js';
import type { RouteDefinition } from './route.js';

/** Where {@link readJsonBody} leaves the parsed body; undefined when there was none. */
const PARSED = Symbol('parsed body');
type WithParsedBody = Request & { [PARSED]?: { json: unknown } };

/** Checks a value and throws what is wrong with it as the client is told. */
export function validated<Schema extends z.ZodType>(
  schema: Schema | undefined,
  place: InputPlace,
  value: unknown,
): z.output<Schema> | undefined {
  if (!schema) return undefined;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new RequestValidationError(validationDetails(result.error.issues, place, value));
}

/**
 * Collects the errors of all three parts, as one request is told everything at once.
 * @throws {RequestValidationError}
 */
export function readInput(route: RouteDefinition, request: Request) {
  const errors: RequestValidationError[] = [];
  const collect = (part: () => unknown): unknown => {
    try {
      return part();
    } catch (error) {
      if (!(error instanceof RequestValidationError)) throw error;
      errors.push(error);
      return undefined;
    }
  };
  const params = collect(() => validated(route.params, 'path', pathOf(request)));
  const query = collect(() => validated(route.query, 'query', queryOf(route.query, request)));
  const body = collect(() => validatedBody(route.body, request));
  if (errors.length > 0) throw new RequestValidationError(errors.flatMap(({ detail }) => detail));
  return { params, query, body };
}

/** Path parameters; one that spans several segments is joined again. */
const pathOf = (request: Request): Record<string, string> =>
  Object.fromEntries(Object.entries(request.params).map(([name, value]) => [name, [value].flat().join('/')]));

/** Repeated keys become lists where the schema has a list; elsewhere the last one counts (contract 1.1). */
function queryOf(schema: z.ZodType | undefined, request: Request): Record<string, string | string[]> {
  const start = request.originalUrl.indexOf('?');
  const given = new URLSearchParams(start === -1 ? '' : request.originalUrl.slice(start + 1));
  const query: Record<string, string | string[]> = {};
  for (const { name, mayRepeat } of schema ? parametersOf(schema) : []) {
    const values = given.getAll(name);
    const last = values.at(-1);
    if (last !== undefined) query[name] = mayRepeat ? values : last;
  }
  return query;
}

interface Parameter {
  name: string;
  mayRepeat: boolean;
}

/** What looking through a schema has told, which never changes. */
const parameters = new WeakMap<z.ZodType, readonly Parameter[]>();

function parametersOf(schema: z.ZodType): readonly Parameter[] {
  const known = parameters.get(schema);
  if (known) return known;
  const found = Object.entries(shapeOf(schema)).map(([name, member]) => ({
    name,
    mayRepeat: isList(member),
  }));
  parameters.set(schema, found);
  return found;
}

/** The members of an object schema, whatever is wrapped around it. */
export function shapeOf(schema: z.core.$ZodType): Readonly<Record<string, z.core.$ZodType>> {
  const inner = unwrapped(schema);
  return inner instanceof z.ZodObject ? inner.shape : {};
}

/** Whether a parameter may be repeated. */
export const isList = (schema: z.core.$ZodType): boolean => unwrapped(schema) instanceof z.ZodArray;

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodReadonly
  ) {
    return unwrapped(schema.unwrap());
  }
  if (schema instanceof z.ZodPipe) {
    // What goes in, unless that is a mere function before the schema proper.
    return unwrapped(schema.in instanceof z.ZodTransform ? schema.out : schema.in);
  }
  return schema;
}

/**
 * Parses the body as JSON before anything else looks at the request: malformed JSON is told even to callers who may not
 * call (contract 1.5). Only JSON is parsed, so that no web page can post by a form.
 */
export function readJsonBody(limit: number): RequestHandler[] {
  const parse: RequestHandler = (request: WithParsedBody, _response, next) => {
    const bytes: unknown = request.body;
    if (Buffer.isBuffer(bytes) && bytes.length > 0) {
      if (!isJson(request.headers['content-type'])) throw new RequestValidationError([NOT_JSON]);
      request[PARSED] = { json: parseJson(bytes) };
    }
    next();
  };
  return [express.raw({ type: () => true, limit }), parse];
}

/** No type at all counts as JSON, as it does for FastAPI; cross-site requests have been refused by then. */
const isJson = (contentType: string | undefined): boolean =>
  contentType === undefined || /^application\/([\w.+-]+\+)?json\s*(;|$)/i.test(contentType.trim());

const NOT_JSON = {
  type: 'model_attributes_type',
  loc: ['body'],
  msg: 'Input should be a valid dictionary or object to extract fields from',
  input: null,
};

function parseJson(bytes: Buffer): unknown {
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return JSON.parse(text);
  } catch (error) {
    // The message quotes the body, which may hold secrets: only the place is taken from it, where it tells one.
    const position = error instanceof SyntaxError ? /at position (\d+)/.exec(error.message)?.[1] : '0';
    throw new RequestValidationError([
      {
        type: 'json_invalid',
        loc: ['body', position === undefined ? text.length : Number(position)],
        msg: 'JSON decode error',
        input: {},
        ctx: { error: 'Expecting valid JSON' },
      },
    ]);
  }
}

function validatedBody(schema: z.ZodType | undefined, request: WithParsedBody): unknown {
  if (!schema) return undefined;
  const json = request[PARSED]?.json;
  if (json === undefined || json === null) {
    const absent = schema.safeParse(json);
    if (absent.success) return absent.data;
    throw new RequestValidationError([
      { type: 'missing', loc: ['body'], msg: 'Field required', input: null },
    ]);
  }
  return validated(schema, 'body', json);
}
