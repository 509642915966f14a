/** Files of the sandbox (agent-server contract 16). Paths are absolute: relative ones are refused by the server. */
import { Success } from './schemas.js';
import type { Call, CallOptions, Transport } from './transport.js';

export function fileCalls(transport: Transport) {
  return {
    /** Writes a file, with its parent directories. The mode of an existing file stays as it is. */
    async uploadFile(path: string, content: string | Uint8Array, options: CallOptions = {}): Promise<void> {
      const form = new FormData();
      form.set('file', new Blob([typeof content === 'string' ? content : new Uint8Array(content)]), 'file');
      await transport.json(
        {
          method: 'POST',
          path: '/api/file/upload',
          query: [['path', path]],
          body: form,
          idempotent: true,
          ...options,
        },
        Success,
      );
    },

    /** The bytes of a file, or null if there is none. */
    async downloadFile(path: string, options: CallOptions = {}): Promise<Uint8Array | null> {
      const call: Call = {
        method: 'GET',
        path: '/api/file/download',
        query: [['path', path]],
        idempotent: true,
        accept: [404],
        ...options,
      };
      const answer = await transport.send(call);
      return answer.status === 404 ? null : answer.bytes;
    },
  };
}
