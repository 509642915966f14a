/** What Callboard has the real agent-server import at its start, in a sandbox that is kept warm. */
import { execFile } from 'node:child_process';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getPriority } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { warmUp } from '../../activities/sandbox-warm-up.js';
import { startupArguments } from '../../sandboxes/agent-server-startup.js';
import { sandboxPaths } from '../../sandboxes/sandbox-paths.js';
import { createSandboxBench, type SandboxBench } from '../support/real-sandbox.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { finish, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

const WITHIN = { timeout: 180_000, interval: 100 };
const LONG = 420_000;
let bench: SandboxBench;
let llm: ScriptedLlm;
let registry: GitServer;
let receiver: Server;
const delivered: string[] = [];

beforeAll(async () => {
  bench = await createSandboxBench();
  llm = await startScriptedLlm({ steps: [finish('Done')] });
  registry = await startGitServer();
  await registry.addRepository('OpenHands/extensions', {
    files: {
      'marketplaces/default.json': JSON.stringify({
        name: 'default',
        owner: { name: 'Somebody' },
        plugins: [{ name: 'greet', source: './skills/greet' }],
      }),
      'skills/greet/SKILL.md':
        '---\nname: greet\ndescription: Greets.\ntriggers:\n- greet\n---\n\nSay hello.\n',
    },
  });
  receiver = createServer((request, response) => {
    void text(request).then((body) => {
      delivered.push(body);
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await bench.close();
  await llm.close();
  await registry.close();
  receiver.closeAllConnections();
  receiver.close();
});

/** Has git find the public skills there instead of at their own address. */
const registryAt = ({ origin }: GitServer) => ({
  GIT_CONFIG_COUNT: '1',
  GIT_CONFIG_KEY_0: `url.${origin}/OpenHands/extensions.git.insteadOf`,
  GIT_CONFIG_VALUE_0: 'https://github.com/OpenHands/extensions',
});

describe('an agent-server that is kept warm', () => {
  it(
    'holds nothing after its warm-up, shows no sign of it, and works',
    async () => {
      const launch = {
        ...(await bench.newLaunch(registryAt(registry))),
        webhookBaseUrl: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`,
        isAhead: true,
      };
      expect(await startupArguments([bench.command])).toHaveLength(4);
      const handle = await bench.backend.launch(launch);
      await bench.ready(launch, handle);
      const client = bench.clientOf(launch, handle);
      const publicSkills = await warmUp(client, handle.workingDirectory);
      expect(publicSkills?.map(({ name }) => name)).toContain('greet');

      const paths = sandboxPaths(join(bench.root, 'sandboxes'), launch.sandboxId);
      expect(await readdir(paths.conversations)).toEqual([]);
      expect(await readdir(paths.project)).toEqual([]);
      expect(await readdir(paths.bashEvents)).toEqual([]);
      for await (const { id } of client.allConversations()) expect.fail(`there is a conversation ${id}`);
      expect(delivered).toEqual([]);
      const log = await readFile(paths.log, 'utf8');
      expect(log).toContain('callboard_startup');
      expect(log).not.toContain('callboard: ');
      const { stdout } = await client.runCommand({ command: 'env', timeoutSeconds: 20 });
      expect(stdout).toContain('CALLBOARD_SANDBOX_ID=');
      expect(stdout).not.toContain('CALLBOARD_WARM_UP');
      // Its priority went with the thread that had it.
      const tasks = await readdir(`/proc/${handle.pid}/task`);
      const nice = await Promise.all(
        tasks.map(async (task) =>
          (await readFile(`/proc/${handle.pid}/task/${task}/stat`, 'utf8')).split(') ')[1]!.split(' ').at(16),
        ),
      );
      expect(new Set(nice)).toEqual(new Set([String(getPriority())]));

      const id = crypto.randomUUID();
      await client.startConversation({
        conversation_id: id,
        workspace: { working_dir: join(handle.workingDirectory, id) },
        agent: {
          kind: 'Agent',
          llm: { model: 'openai/scripted', api_key: 'sk-scripted', base_url: llm.url, num_retries: 0 },
          tools: [{ name: 'terminal', params: {} }],
        },
        initial_message: { role: 'user', content: [{ type: 'text', text: 'Hello' }], run: true },
      });
      await vi.waitFor(async () => {
        expect((await client.conversation(id))?.execution_status).toBe('finished');
        expect(delivered.join()).toContain('Done');
      }, WITHIN);
      expect((await readdir(paths.conversations)).sort()).toContain(id.replaceAll('-', ''));
    },
    LONG,
  );
});

describe('certificates that clients share', () => {
  it(
    'are read once, again when they have changed, and by themselves for whoever brings other ones',
    async () => {
      const authorities = join(bench.root, 'authorities.pem');
      const python = join(dirname(bench.command), '../venv/bin/python');
      const { stdout: certifi } = await promisify(execFile)(python, [
        '-c',
        'import certifi; print(certifi.where())',
      ]);
      await writeFile(authorities, await readFile(certifi.trim()));
      await utimes(authorities, 1, 1);
      const script = `
import os, ssl, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import callboard_startup, httpx
from httpx._transports import default as transports
def own(**how): return httpx.Client(**how)._transport._pool._ssl_context
first = own()
print(first is own(), first.verify_mode == ssl.CERT_REQUIRED, first.check_hostname)
print(own(verify=False) is first, own(verify=False).check_hostname, own(verify=ssl.create_default_context()) is first)
print(own(trust_env=False) is own())
again = own()
os.utime(os.environ["SSL_CERT_FILE"], (2, 2))
print(own() is again, len(own().get_ca_certs()) == len(again.get_ca_certs()) > 0)
`;
      const directory = fileURLToPath(new URL('../../sandboxes/agent-server-startup', import.meta.url));
      const { stdout } = await promisify(execFile)(python, ['-c', script, directory], {
        env: { PATH: process.env['PATH'], SSL_CERT_FILE: authorities },
      });
      expect(stdout.trim().split('\n')).toEqual([
        'True True True',
        'False False False',
        'False',
        'False True',
      ]);
    },
    LONG,
  );
});
