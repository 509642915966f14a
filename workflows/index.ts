export { conversation } from './conversation.js';
export { maintenance } from './maintenance.js';
export { sandbox } from './sandbox.js';
export { startConversation } from './start-conversation.js';
