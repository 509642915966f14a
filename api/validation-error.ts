/** Refused input in the shape FastAPI gives it (contract 1.5, shape B): clients read `loc` and `type`. */
import type { z } from 'zod';
import { echoed } from './error-input.js';

export type InputPlace = 'query' | 'path' | 'body' | 'header';

export interface ValidationDetail {
  type: string;
  loc: (string | number)[];
  msg: string;
  input: unknown;
  ctx?: Record<string, unknown>;
}

/** Input that does not fit; answered with 422. */
export class RequestValidationError extends Error {
  constructor(readonly detail: readonly ValidationDetail[]) {
    super('the request is not valid');
    this.name = 'RequestValidationError';
  }
}

type Issue = z.core.$ZodIssue;

/** In the place of the input where a schema was applied to something else than a request. */
export const UNKNOWN_INPUT = Symbol('unknown input');

/** Parameters that the reference declares as literals where it uses enums elsewhere. */
const LITERAL_MEMBERS = new Set<PropertyKey>(['role', 'kind__eq']);

/**
 * Translates the issues of a schema.
 * @param input what was parsed; of it only the offending value is repeated, and never a secret
 */
export function validationDetails(
  issues: readonly Issue[],
  place: InputPlace,
  input: unknown,
): ValidationDetail[] {
  return issues.flatMap((issue) => flatten(issue)).flatMap((issue) => details(issue, place, input));
}

/** A union reports every branch: the one that got furthest says most. */
function flatten(issue: Issue): Issue[] {
  const prefixed = (inner: readonly Issue[]): Issue[] =>
    inner.flatMap(flatten).map((each) => ({ ...each, path: [...issue.path, ...each.path] }));
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const furthest = issue.errors.reduce((best, branch) => (depth(branch) > depth(best) ? branch : best));
    return prefixed(furthest);
  }
  if (issue.code === 'invalid_key' || issue.code === 'invalid_element') return prefixed(issue.issues);
  return [issue];
}

const depth = (issues: readonly Issue[]): number => Math.max(0, ...issues.map(({ path }) => path.length));

function details(issue: Issue, place: InputPlace, input: unknown): ValidationDetail[] {
  const at = (
    path: readonly PropertyKey[],
    rest: Omit<ValidationDetail, 'loc' | 'input'>,
    value: unknown,
  ) => ({
    type: rest.type,
    loc: [place, ...path.map((part) => (typeof part === 'number' ? part : String(part)))],
    msg: rest.msg,
    input: echoed(value, path),
    ...(rest.ctx ? { ctx: rest.ctx } : {}),
  });
  const value = valueAt(input, issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) =>
      at(
        [...issue.path, key],
        { type: 'extra_forbidden', msg: 'Extra inputs are not permitted' },
        valueAt(value, [key]),
      ),
    );
  }
  if (value === undefined && issue.code !== 'custom' && input !== UNKNOWN_INPUT) {
    // A missing member is shown with what encloses it, a missing parameter with nothing.
    const enclosing =
      place === 'body' && issue.path.length > 0 ? valueAt(input, issue.path.slice(0, -1)) : null;
    return [at(issue.path, { type: 'missing', msg: 'Field required' }, enclosing)];
  }
  if (isUnknownKind(issue, place)) {
    const whole = issue.path.slice(0, -1);
    return [at(whole, unknownKind(issue.values), valueAt(input, whole))];
  }
  return [at(issue.path, describe(issue, value, place), value ?? null)];
}

/** What comes in several kinds is refused as a whole when its kind is none of them (contract 3.3). */
const isUnknownKind = (issue: Issue, place: InputPlace): issue is Extract<Issue, { code: 'invalid_value' }> =>
  issue.code === 'invalid_value' && place === 'body' && issue.path.at(-1) === 'kind';

const unknownKind = (values: readonly unknown[]) =>
  valueError(`Unknown kind; Expected one of: [${values.map((value) => `'${String(value)}'`).join(', ')}]`);

function describe(issue: Issue, value: unknown, place: InputPlace): Omit<ValidationDetail, 'loc' | 'input'> {
  switch (issue.code) {
    case 'invalid_type':
      return wrongType(issue.expected, value, place);
    case 'too_small':
    case 'too_big':
      return outOfBounds(issue, value);
    case 'invalid_value':
      return wrongValue(issue.values, issue.path.at(-1));
    case 'invalid_format':
      return wrongFormat(issue);
    case 'invalid_union':
      return { type: 'union_tag_invalid', msg: 'Input tag does not match any of the expected tags' };
    case 'not_multiple_of': {
      const ctx = { multiple_of: issue.divisor };
      return { type: 'multiple_of', msg: `Input should be a multiple of ${ctx.multiple_of}`, ctx };
    }
    case 'custom':
      return ruleBroken(issue);
    case 'unrecognized_keys': // taken apart before, as are the next two
    case 'invalid_key':
    case 'invalid_element':
      return valueError(issue.message);
  }
}

const valueError = (message: string) => ({
  type: 'value_error',
  msg: `Value error, ${message}`,
  ctx: { error: {} },
});

function wrongType(expected: string, value: unknown, place: InputPlace) {
  if (expected === 'string') return { type: 'string_type', msg: 'Input should be a valid string' };
  if (expected === 'boolean') return { type: 'bool_type', msg: 'Input should be a valid boolean' };
  if (expected === 'array') return { type: 'list_type', msg: 'Input should be a valid list' };
  if (expected === 'object' || expected === 'record') {
    return { type: 'dict_type', msg: 'Input should be a valid dictionary' };
  }
  if (expected === 'int' || (expected === 'number' && place !== 'body')) {
    if (typeof value === 'string') {
      const msg = 'Input should be a valid integer, unable to parse string as an integer';
      return { type: 'int_parsing', msg };
    }
    return typeof value === 'number'
      ? {
          type: 'int_from_float',
          msg: 'Input should be a valid integer, got a number with a fractional part',
        }
      : { type: 'int_type', msg: 'Input should be a valid integer' };
  }
  if (expected === 'number') return { type: 'float_type', msg: 'Input should be a valid number' };
  return { type: `${expected}_type`, msg: `Input should be a valid ${expected}` };
}

function outOfBounds(issue: Extract<Issue, { code: 'too_small' | 'too_big' }>, value: unknown) {
  const small = issue.code === 'too_small';
  const limit = Number(small ? issue.minimum : issue.maximum);
  const count = (noun: string) => `${limit} ${noun}${limit === 1 ? '' : 's'}`;
  const least = small ? 'at least' : 'at most';
  const bound = small ? 'min_length' : 'max_length';
  if (issue.origin === 'array' || issue.origin === 'set') {
    const actual = Array.isArray(value) ? value.length : 0;
    const msg = `List should have ${least} ${count('item')} after validation, not ${actual}`;
    const ctx = { field_type: 'List', [bound]: limit, actual_length: actual };
    return { type: small ? 'too_short' : 'too_long', msg, ctx };
  }
  if (issue.origin === 'string') {
    const msg = `String should have ${least} ${count('character')}`;
    return { type: small ? 'string_too_short' : 'string_too_long', msg, ctx: { [bound]: limit } };
  }
  const direction = small ? 'greater' : 'less';
  return issue.inclusive
    ? {
        type: `${direction}_than_equal`,
        msg: `Input should be ${direction} than or equal to ${limit}`,
        ctx: { [small ? 'ge' : 'le']: limit },
      }
    : {
        type: `${direction}_than`,
        msg: `Input should be ${direction} than ${limit}`,
        ctx: { [small ? 'gt' : 'lt']: limit },
      };
}

function wrongValue(values: readonly unknown[], member: PropertyKey | undefined) {
  const quoted = values.map((value) => (typeof value === 'string' ? `'${value}'` : String(value)));
  const last = quoted.at(-1) ?? '';
  const expected = quoted.length > 1 ? `${quoted.slice(0, -1).join(', ')} or ${last}` : last;
  const isLiteral = quoted.length === 1 || (member !== undefined && LITERAL_MEMBERS.has(member));
  return {
    type: isLiteral ? 'literal_error' : 'enum',
    msg: `Input should be ${expected}`,
    ctx: { expected },
  };
}

function wrongFormat(issue: Extract<Issue, { code: 'invalid_format' }>) {
  if (issue.format === 'regex') {
    const pattern = (issue.pattern ?? '').replace(/^\/|\/[a-z]*$/g, '');
    return {
      type: 'string_pattern_mismatch',
      msg: `String should match pattern '${pattern}'`,
      ctx: { pattern },
    };
  }
  if (issue.format === 'uuid' || issue.format === 'guid') return uuidParsing;
  return valueError(issue.message);
}

const uuidParsing = {
  type: 'uuid_parsing',
  msg: 'Input should be a valid UUID, invalid length or character',
  ctx: { error: 'invalid length or character' },
};

/** A rule of ours names the FastAPI type it stands for in `params.type`. */
function ruleBroken(issue: Extract<Issue, { code: 'custom' }>) {
  const type: unknown = issue.params?.['type'];
  if (type === 'uuid_parsing') return uuidParsing;
  if (type === 'datetime_from_date_parsing') {
    return { type, msg: issue.message, ctx: { error: issue.message.split(', ').at(-1) ?? issue.message } };
  }
  if (typeof type === 'string' && type !== 'value_error') return { type, msg: issue.message };
  return valueError(issue.message);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const part of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, part)) return undefined;
    current = (current as Record<PropertyKey, unknown>)[part];
  }
  return current;
}
