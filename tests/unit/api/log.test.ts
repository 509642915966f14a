import { DrizzleQueryError } from 'drizzle-orm/errors';
import { describe, expect, it } from 'vitest';
import { createLogger, secretsOf } from '../../../api/log.js';
import { loadConfig } from '../../../config/config.js';
import { SecretMasker } from '../../../contract/secret-masker.js';

const capture = (json: boolean, masker?: SecretMasker) => {
  const lines: string[] = [];
  const logger = createLogger(
    { level: 'debug', json },
    { destination: { write: (line: string) => void lines.push(line) }, ...(masker ? { masker } : {}) },
  );
  return { logger, text: () => lines.join('') };
};

describe.each([
  ['JSON', true],
  ['readable', false],
])('the %s log', (_name, json) => {
  it('masks fields by their names, however deep they are', () => {
    const { logger, text } = capture(json);
    logger.info(
      { apiKey: 'hunter2-a', nested: { list: [{ session_api_key: 'hunter2-b' }] }, title: 'kept' },
      'hi',
    );
    expect(text()).not.toContain('hunter2');
    expect(text()).toContain('kept');
  });

  it('leaves the fields themselves as they are', () => {
    const { logger, text } = capture(json);
    const fields = { apiKey: 'hunter2-a', nested: { token: 'hunter2-b', title: 'kept' }, same: { a: 1 } };
    logger.info(fields, 'hi');
    expect(text()).not.toContain('hunter2');
    expect(fields).toEqual({
      apiKey: 'hunter2-a',
      nested: { token: 'hunter2-b', title: 'kept' },
      same: { a: 1 },
    });
  });

  it('masks known secrets in messages, errors and stacks, those of later too', () => {
    const masker = new SecretMasker(['hunter2-known']);
    const { logger, text } = capture(json, masker);
    masker.add('hunter2-later "quoted"');
    logger.warn(
      { err: new Error('refused hunter2-known', { cause: new Error('hunter2-later "quoted"') }) },
      'at hunter2-known',
    );
    logger.info(`url https://x/?k=${encodeURIComponent('hunter2-later "quoted"')}`);
    expect(text()).not.toContain('hunter2');
    expect(text()).toContain('refused');
  });

  it('tells of a failed query what the database said, not what it was given', () => {
    const { logger, text } = capture(json);
    const error = new DrizzleQueryError('select $1', ['hunter2-parameter'], new Error('relation is missing'));
    logger.error({ err: error }, 'failed');
    expect(text()).toContain('relation is missing');
    expect(text()).toContain('select $1');
    expect(text()).not.toContain('hunter2');
  });
});

describe('the secrets of a configuration', () => {
  it('are all masked', () => {
    const masker = secretsOf(
      loadConfig({
        env: {
          HOME: '/nowhere',
          DATABASE_URL: 'postgres://u:hunter2%2Fdb@h/d',
          SESSION_API_KEY: 'hunter2-instance',
          JWT_SECRET: 'hunter2-master',
          LLM_API_KEY: 'hunter2-llm',
          LLM_MODEL: 'openai/model',
          OH_AGENT_SERVER_ENV: '{"GITHUB_TOKEN": "hunter2-env"}',
        },
      }),
    );
    const masked = masker.mask(
      'hunter2/db hunter2-instance hunter2-master hunter2-llm hunter2-env hunter2%2Fdb openai/model',
    );
    expect(masked).not.toContain('hunter2');
    expect(masked).toContain('openai/model');
  });

  it('are forgotten in the order of their last use when there are very many', () => {
    const masker = new SecretMasker(['first-secret', 'second-secret']);
    masker.add('first-secret');
    for (let count = 0; count < 999; count++) masker.add(`secret-number-${count}`);
    expect(masker.mask('first-secret second-secret secret-number-998')).toBe(
      '********** second-secret **********',
    );
  });
});
