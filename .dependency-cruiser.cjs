/** The rooms of docs/architecture.md and what each may import. */
const room = (name, allowed) => ({
  name: `${name}-imports`,
  severity: 'error',
  comment: `${name}/ may import only ${allowed.join(', ') || 'packages'}`,
  from: { path: `^${name}/` },
  to: {
    path: '^(contract|config|workflows|activities|sandboxes|agent-server|events|db|identity|git-providers|api|cli|tests|bench)/',
    pathNot: [name, ...allowed].map((other) => `^${other}/`),
  },
});
/** The same, but types may come from the rooms in `typed` as well. */
const roomWithTypes = (name, allowed, typed) => [
  {
    ...room(name, [...allowed, ...typed]),
  },
  {
    name: `${name}-types-only`,
    severity: 'error',
    from: { path: `^${name}/` },
    to: { path: typed.map((other) => `^${other}/`).join('|'), dependencyTypesNot: ['type-only'] },
  },
];

module.exports = {
  forbidden: [
    room('contract', []),
    room('config', ['contract']),
    room('db', ['contract']),
    room('events', ['contract', 'db']),
    room('sandboxes', ['contract']),
    room('agent-server', ['contract']),
    room('identity', ['contract', 'db']),
    ...roomWithTypes('git-providers', ['contract'], ['identity']),
    room('activities', [
      'contract',
      'config',
      'db',
      'events',
      'sandboxes',
      'agent-server',
      'identity',
      'git-providers',
    ]),
    ...roomWithTypes('workflows', ['contract'], ['activities']),
    {
      name: 'workflows-are-pure',
      severity: 'error',
      from: { path: '^workflows/' },
      to: {
        path: 'node_modules',
        pathNot: ['node_modules/@temporalio/(workflow|common)', 'node_modules/zod'],
        dependencyTypesNot: ['type-only'],
      },
    },
    room('api', [
      'contract',
      'config',
      'db',
      'events',
      'agent-server',
      'identity',
      'git-providers',
      'workflows',
    ]),
    {
      name: 'messages-load-next-to-nothing',
      severity: 'error',
      comment: 'API and commands load them, and would load the inside of workflows with them',
      from: { path: '^workflows/(messages|message-definitions)\\.ts$' },
      to: {
        path: 'node_modules',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'api-speaks-to-actors-by-messages',
      severity: 'error',
      from: { path: '^api/' },
      to: { path: '^workflows/', pathNot: '^workflows/messages\\.ts$', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'nothing-imports-api-or-cli',
      severity: 'error',
      from: { pathNot: '^(api|cli|tests|bench|scripts)/' },
      to: { path: '^(api|cli)/' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
  },
};
