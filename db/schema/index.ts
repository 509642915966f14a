export * from './start-tasks.js';
export * from './sandboxes.js';
export * from './conversations.js';
export * from './events.js';
export * from './settings.js';
export * from './pending-messages.js';
export * from './identity.js';
export * from './api-keys.js';
