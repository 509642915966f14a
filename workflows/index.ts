export { conversation } from './conversation.js';
export { sandbox } from './sandbox.js';
export { startConversation } from './start-conversation.js';
