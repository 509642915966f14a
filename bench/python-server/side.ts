/** The Python server beside ours: installed when it is asked for, and started when a measure needs it. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startLightSandboxes, type LightSandboxes } from '../light-sandboxes.js';
import { startPythonServer, type PythonServer, type PythonServerOptions } from './server.js';

const INSTALL = fileURLToPath(new URL('./install.sh', import.meta.url));

export class PythonSide {
  readonly #python: string;
  #sandboxes: LightSandboxes | null = null;
  #light: PythonServer | null = null;

  /** Installs it if it is not there; progress goes to standard error. @throws {Error} when it cannot be installed */
  constructor() {
    try {
      this.#python = execFileSync(INSTALL, {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      }).trim();
    } catch (cause) {
      throw new Error('the Python server could not be installed; leave out --python to measure without it', {
        cause,
      });
    }
  }

  /** A server of one's own, with the real agent-server of its installation. */
  start(options: Omit<PythonServerOptions, 'python' | 'lightAgentServer'> = {}): Promise<PythonServer> {
    return startPythonServer({ python: this.#python, ...options });
  }

  /** The server whose sandboxes cost nothing; all measures share it, as they share ours. */
  async light(): Promise<PythonServer> {
    this.#sandboxes ??= await startLightSandboxes();
    this.#light ??= await startPythonServer({
      python: this.#python,
      lightAgentServer: this.#sandboxes.command,
      llm: { model: 'openai/none' },
    });
    return this.#light;
  }

  /** Has the Python of the server do something. @param program path of a Python file */
  async run(program: string, ...parameters: string[]): Promise<void> {
    const child = spawn(this.#python, [program, ...parameters], { stdio: ['ignore', 'ignore', 'inherit'] });
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`${program} failed`);
  }

  async stop(): Promise<void> {
    await this.#light?.stop();
    await this.#sandboxes?.close();
  }
}
