/** The least that a request costs on a machine: what an absolute bar can be held against. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { httpRequest, load } from './load.js';
import { median } from './statistics.js';

const MAIN = fileURLToPath(new URL('./bare-express/main.ts', import.meta.url));
const REQUESTS = 10_000;

/** Requests per second that a process of its own with Express and a constant answer serves; the median of the runs. */
export async function bareExpressRate({
  runs,
  concurrency,
}: {
  runs: number;
  concurrency: number;
}): Promise<number> {
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [port] = (await once(child.stdout, 'data')) as [Buffer];
    const request = httpRequest('GET', '/');
    const rates: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const { perSecond } = await load({
        url: `http://127.0.0.1:${port.toString().trim()}`,
        concurrency,
        requests: REQUESTS,
        next: () => request,
      });
      if (run > 0) rates.push(perSecond);
    }
    return median(rates);
  } finally {
    child.kill();
  }
}
