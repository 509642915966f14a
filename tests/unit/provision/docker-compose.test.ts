import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { COMMANDS } from '../../../cli/commands.js';
import { PINNED_AGENT_SERVER } from '../../../config/schema.js';
import { SETTINGS } from '../../../config/sources.js';
import { ROOMS } from '../../../scripts/rooms.mjs';

const root = join(import.meta.dirname, '../../..');
const text = (path: string) => readFileSync(join(root, path), 'utf8');

const Service = z.object({
  image: z.string(),
  build: z.object({ context: z.string(), args: z.record(z.string(), z.string()) }).optional(),
  command: z.array(z.string()).optional(),
  entrypoint: z.array(z.string()).optional(),
  container_name: z.string().optional(),
  restart: z.string(),
  environment: z.record(z.string(), z.string()).default({}),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  /** Started only when one of these is asked for. */
  profiles: z.array(z.string()).default([]),
});
const Compose = z.object({
  services: z.record(z.string(), Service),
  volumes: z.record(z.string(), z.null()),
});

const source = text('docker-compose.yml');
const compose = Compose.parse(parse(source, { merge: true }));
const service = (name: string) => compose.services[name]!;
const ours = ['migrate', 'api', 'worker'];

describe('docker-compose.yml', () => {
  it('runs PostgreSQL, Temporal with its UI, the migrations, the API and the worker', () => {
    const always = Object.keys(compose.services).filter((name) => service(name).profiles.length === 0);
    expect(always).toEqual(['postgres', 'temporal', 'temporal-ui', 'migrate', 'api', 'worker']);
  });

  it('makes the migrations, the API and the worker of one image', () => {
    expect(new Set(ours.map((name) => service(name).image)).size).toBe(1);
    for (const name of ours) expect(service(name).build?.context).toBe('.');
  });

  it('lets the API and the worker be scaled', () => {
    for (const name of ['api', 'worker']) expect(service(name).container_name).toBeUndefined();
    expect(service('worker').ports).toEqual([]);
    expect(service('api').ports).toEqual(['${CALLBOARD_BIND:-127.0.0.1}:${CALLBOARD_PORTS:-3000}:3000']);
  });

  it('has no default for any password or key', () => {
    for (const name of ['POSTGRES_PASSWORD', 'JWT_SECRET', 'SESSION_API_KEY']) {
      const uses = [...source.matchAll(new RegExp(`\\$\\{${name}([^}]*)\\}`, 'g'))].map(([, rest]) => rest);
      expect(uses.length).toBeGreaterThan(0);
      for (const use of uses) expect(use).toMatch(/^:\?\S/);
    }
    expect(source).not.toMatch(/(PASSWORD|PWD|SECRET|_KEY): (?!\$\{)/);
  });

  it('publishes every port on this machine alone unless told otherwise', () => {
    for (const { ports } of Object.values(compose.services)) {
      for (const port of ports) expect(port).toMatch(/^(127\.0\.0\.1|\$\{CALLBOARD_BIND:-127\.0\.0\.1\}):/);
    }
  });

  it('starts things when what they need is there', () => {
    expect(service('migrate').depends_on).toEqual({ postgres: { condition: 'service_healthy' } });
    for (const name of ['api', 'worker']) {
      expect(service(name).depends_on).toEqual({
        migrate: { condition: 'service_completed_successfully' },
        temporal: { condition: 'service_healthy' },
      });
    }
    for (const { depends_on } of Object.values(compose.services)) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        expect(compose.services).toHaveProperty([other]);
        if (condition === 'service_healthy') expect(service(other).healthcheck).toBeDefined();
      }
    }
  });

  it('checks the health of the API', () => {
    expect(service('api').healthcheck?.test.at(-1)).toBe('http://127.0.0.1:3000/alive');
  });

  it('shares events and keys between all, and gives each worker a host directory of its own', () => {
    for (const name of ours) expect(service(name).volumes[0]).toBe('callboard:/var/lib/callboard');
    expect(service('worker').volumes[1]).toBe('/var/lib/callboard-host');
    for (const { volumes } of Object.values(compose.services)) {
      for (const [name = ''] of volumes.map((volume) => volume.split(':'))) {
        if (!name.startsWith('/')) expect(compose.volumes).toHaveProperty([name]);
      }
    }
  });

  it('sets only variables that Callboard reads', () => {
    const known = SETTINGS.flatMap(({ info }) => info.env ?? []);
    for (const name of ours)
      for (const variable of Object.keys(service(name).environment)) expect(known).toContain(variable);
  });

  it('runs commands that Callboard has', () => {
    for (const name of ours) {
      const { command, entrypoint } = service(name);
      const words = (command ?? entrypoint ?? []).join(' ').split(' ');
      expect(Object.keys(COMMANDS)).toContain(words.at(-1));
    }
  });
});

describe('the image', () => {
  const dockerfile = text('Dockerfile');
  const ignore = text('.dockerignore').split('\n');

  it('is built from every room of the sources', () => {
    for (const room of [...ROOMS, 'scripts', 'package.json', 'package-lock.json', 'tsconfig.json']) {
      expect(ignore).toContain(`!${room}`);
    }
  });

  it('holds the agent-server this version was tested with, with its dependencies pinned', () => {
    expect(dockerfile).toContain(`ARG AGENT_SERVER_VERSION=${PINNED_AGENT_SERVER}\n`);
    expect(service('api').build?.args).toEqual({
      AGENT_SERVER_VERSION: `\${AGENT_SERVER_VERSION:-${PINNED_AGENT_SERVER}}`,
    });
    expect(existsSync(join(root, `scripts/agent-server-${PINNED_AGENT_SERVER}.constraints.txt`))).toBe(true);
    expect(text('scripts/agent-server.sh')).toContain(`AGENT_SERVER_VERSION:-${PINNED_AGENT_SERVER}}`);
  });

  it('does not run as root, and installs no development packages', () => {
    const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
    expect(last).toMatch(/\nUSER callboard\n/);
    expect(last).toContain('COPY --from=packages /app/node_modules ./node_modules');
    expect(dockerfile).toContain('npm ci --omit=dev');
  });

  it('sets only variables that Callboard or Node.js reads', () => {
    const known = [...SETTINGS.flatMap(({ info }) => info.env ?? []), 'NODE_ENV'];
    const block = /\nENV ([^]*?[^\\])\n/.exec(dockerfile)?.[1] ?? '';
    const names = [...block.matchAll(/([A-Z_]+)=/g)].map(([, name]) => name);
    expect(names).toContain('OH_PERSISTENCE_DIR');
    for (const name of names) expect(known).toContain(name);
  });
});
