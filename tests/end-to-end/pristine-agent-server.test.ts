/** What keeps an agent-server from being copied: whatever of its import is still there, by the search of its process. */
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { required } from '../support/environment.js';

/** A package of the right names, in which `keeper` is the module in question. */
const PACKAGE: Record<string, string> = {
  'openhands/agent_server/__init__.py': '',
  'openhands/agent_server/api.py': 'import os\nsecret = os.environ["KEY"]\n',
  'openhands/agent_server/sockets.py': '',
  'openhands/agent_server/config.py': 'import os\n_default_config = [os.environ["KEY"]]\n',
};

const SCRIPT = `
import os, sys, time
sys.path[:0] = sys.argv[1:3]
sys.dont_write_bytecode = True
import callboard_pristine as pristine
pristine.PATIENCE_SECONDS = 0.2
tracer = pristine.Tracer(*os.environ.pop("TRACER").split(" "))
began = (time.time(), time.monotonic())
import openhands.agent_server.config, openhands.agent_server.api, openhands.agent_server.sockets
import openhands.keeper as keeper
for name in ("HOME", "KEY", "ELSEWHERE"):
    del os.environ[name]
del sys.argv[1:]
try:
    found = pristine.pristine(tracer, began)
except pristine.Unsuitable as reason:
    print("unsuitable:", reason)
else:
    time.sleep(0.01)
    before = time.time()
    found.take_on("/sandboxes/one/home")
    print(openhands.agent_server.config._default_config, "openhands.agent_server.api" in sys.modules)
    for line in keeper.show():
        print(line)
    print(getattr(keeper, "AT", before) >= before)
`;

let root: string;
let python: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'callboard-pristine-'));
  python = join(dirname(required('AGENT_SERVER_COMMAND')), '../venv/bin/python');
});
afterAll(() => rm(root, { recursive: true, force: true }));

const ours = fileURLToPath(new URL('../../sandboxes/agent-server-startup', import.meta.url));

async function packageWith(keeper: string): Promise<string> {
  const directory = await mkdtemp(join(root, 'package-'));
  for (const [name, content] of Object.entries({ ...PACKAGE, 'openhands/keeper.py': keeper })) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), content);
  }
  return directory;
}

/** What becomes of a process that has imported a module of that text. */
async function copied(keeper: string): Promise<string[]> {
  const directory = await packageWith(keeper);
  const { stdout } = await promisify(execFile)(python, ['-c', SCRIPT, ours, directory], {
    env: {
      HOME: '/import/callboard-1f2e3d/home',
      KEY: 'callboard-1f2e3d-key',
      ELSEWHERE: '/import/callboard-1f2e3d/elsewhere',
      TRACER: 'callboard-1f2e3d /import/callboard-1f2e3d/home',
    },
  });
  return stdout.trim().split('\n');
}

const IMPORTS = 'import os, threading, time\nfrom pathlib import Path\n';

describe('a process that has imported an agent-server', () => {
  it('can be copied when what it kept is put right in each copy: homes, moments, singletons', async () => {
    const lines = await copied(`${IMPORTS}
CACHE = Path.home() / ".openhands" / "cache"
PLACES = (CACHE / "skills", [Path.home()])
SOUL = os.path.expanduser("~/.openhands/SOUL.md")
AT = time.time()
class Settings:
    def __init__(self): self.home = Path.home() / ".local"
settings = Settings()
def show(cache=CACHE):
    return [cache, PLACES[0], CACHE.parent, PLACES[1][0], SOUL, settings.home, hash(CACHE) == hash(Path("/sandboxes/one/home/.openhands/cache"))]
`);
    const home = '/sandboxes/one/home';
    expect(lines).toEqual([
      'None False',
      `${home}/.openhands/cache`,
      `${home}/.openhands/cache/skills`,
      `${home}/.openhands`,
      home,
      `${home}/.openhands/SOUL.md`,
      `${home}/.local`,
      'True',
      'True',
    ]);
  });

  it.each<[string, string, RegExp]>([
    ['a key of its configuration', 'kept = {"key": os.environ["KEY"]}', /under the name 'key'/],
    ['a text that nothing can change', 'kept = (os.path.expanduser("~/x"),)', /kept by a builtins\.tuple/],
    ['a text in a function', 'def kept(place=os.path.expanduser("~")): pass', /kept by a builtins\.tuple/],
    ['a text in a list', 'kept = [os.environ["KEY"]]', /kept by a builtins\.list/],
    ['bytes', 'kept = {"key": os.environ["KEY"].encode()}', /under the name 'key'/],
    ['a path elsewhere', 'kept = Path(os.environ["ELSEWHERE"])', /that of elsewhere/],
    ['a path as a key', 'kept = {Path.home() / "x": 1}', /kept as a key/],
    ['a path in a set', 'kept = {Path.home() / "x"}', /kept as a key/],
    ['a text as a key', 'kept = {os.path.expanduser("~"): 1}', /kept as a key/],
    [
      'a thread',
      'threading.Thread(target=time.sleep, args=(600,), name="kept", daemon=True).start()',
      /threads that do not end: .*kept/,
    ],
    ['no application', 'import sys; del sys.modules["openhands.agent_server.api"]', /no module .*\.api/],
  ])('cannot be copied when it keeps %s', async (_, keeper, reason) => {
    const [line] = await copied(`${IMPORTS}\n${keeper}\ndef show(): return []\n`);
    expect(line).toMatch(/^unsuitable: /);
    expect(line).toMatch(reason);
  });
});

describe('a fork server', () => {
  /** What it tells of itself when its agent-server has imported a module of that text. */
  async function toldOf(keeper: string): Promise<unknown> {
    const directory = await packageWith(`import os, socket\n${keeper}\n`);
    await writeFile(
      join(directory, 'openhands/agent_server/api.py'),
      'import openhands.agent_server.sockets, openhands.keeper\n',
    );
    const home = join(directory, 'import/callboard-1f2e3d/home');
    await mkdir(home, { recursive: true });
    const program = `import sys
sys.path[:0] = sys.argv[1:3]
sys.modules.update(litellm=None, openai=None) # large, and not in question
import callboard_fork_server`;
    const child = spawn(python, ['-B', '-c', program, ours, directory], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      env: {
        HOME: home,
        KEY: 'callboard-1f2e3d-key',
        CALLBOARD_WARM_UP: '1',
        CALLBOARD_FORK_SERVER: JSON.stringify({ tracer: 'callboard-1f2e3d', home, log_limit: 1 }),
      },
    });
    return JSON.parse(await text(child.stdio[3] as Readable));
  }

  it('is ready when nothing is left of the import', async () => {
    expect(await toldOf('')).toEqual({ ready: true });
  });

  it.each<[string, string, RegExp]>([
    ['a connection', 'kept = socket.socket()', /connections/],
    ['a file in the home directory', 'open(os.path.expanduser("~/x"), "w").close()', /files/],
    ['a path elsewhere', 'kept = [os.environ["KEY"]]', /builtins\.list/],
  ])('is not when that leaves %s', async (_, keeper, reason) => {
    expect(await toldOf(keeper)).toEqual({ unsuitable: expect.stringMatching(reason) as string });
  });
});
