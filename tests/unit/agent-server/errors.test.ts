import { describe, expect, it } from 'vitest';
import { reasonOf } from '../../../agent-server/errors.js';

describe('the reason of a refused call', () => {
  it('is the detail of the body, with the exception of a server error', () => {
    expect(reasonOf(401, '{"detail":"Unauthorized"}')).toBe('HTTP 401 Unauthorized');
    expect(
      reasonOf(500, '{"detail":"Internal Server Error","exception":"no such tool","error_id":"1"}'),
    ).toBe('HTTP 500 Internal Server Error: no such tool');
  });

  it('names the fields that were refused, without quoting the input', () => {
    const body = JSON.stringify({
      detail: [{ type: 'missing', loc: ['body', 'workspace'], msg: 'Field required', input: 'secret' }],
    });
    expect(reasonOf(422, body)).toBe('HTTP 422 body.workspace: Field required');
  });

  it('is the text itself where the body is something else', () => {
    expect(reasonOf(502, '<html>bad gateway</html>')).toBe('HTTP 502 <html>bad gateway</html>');
    expect(reasonOf(503, '')).toBe('HTTP 503 without a body');
    expect(reasonOf(500, `{"detail":"${'x'.repeat(5000)}"}`).length).toBeLessThan(700);
  });
});
