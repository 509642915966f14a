import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    globalSetup: ['tests/support/global-setup.ts'],
    pool: 'forks',
    // Two cores: end-to-end files boot agent-servers, which are single-threaded CPU work.
    maxWorkers: 2,
    testTimeout: 420_000,
    hookTimeout: 420_000,
    // A wait ends as soon as it may; its limit only says how long a busy machine is waited for.
    expect: { poll: { timeout: 90_000 } },
    // A test that passes only now and then is a failing test.
    retry: 0,
    allowOnly: false,
  },
});
