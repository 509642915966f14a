/**
 * `up` with a service that tells the test what it was given, and behaves as UP_TEST_SERVICE says:
 * `hang` (its stop never ends), `fail` (it does not start), `end` (it ends by itself), or well.
 */
import pg from 'pg';
import { loadConfig } from '../../config/config.js';
import { createProgress } from '../../cli/progress.js';
import { type Service, runUp } from '../../cli/up.js';
import { UserError } from '../../cli/user-error.js';

const behaviour = process.env['UP_TEST_SERVICE'];
const controller = new AbortController();
process.on('SIGINT', () => {
  if (controller.signal.aborted) process.exit(130);
  controller.abort(new Error('stopped'));
});

const service: Service = {
  title: 'test service',
  start: async (engines) => {
    if (behaviour === 'fail') throw new UserError('The test service does not start: let it.');
    const url = engines.databaseUrl.reveal();
    console.log(`ENGINES ${JSON.stringify({ ...engines, databaseUrl: url })}`);
    return {
      url: 'http://127.0.0.1:1',
      table: [['Test', 'a line of the service']],
      ended: behaviour === 'end' ? Promise.reject(new Error('out of luck')) : undefined,
      stop: async () => {
        if (behaviour === 'hang') await new Promise(() => undefined);
        // The engines are still there when a service is stopped.
        const client = new pg.Client(url);
        await client.connect();
        await client.query('select 1');
        await client.end();
        console.log('SERVICE STOPPED');
      },
    };
  },
};

try {
  const config = loadConfig({ env: process.env });
  await runUp({
    config,
    env: process.env,
    progress: createProgress(process.stderr),
    services: [service],
    signal: controller.signal,
  });
  process.exit(0);
} catch (err) {
  console.error(err instanceof UserError ? `callboard: ${err.message}` : err);
  process.exit(1);
}
