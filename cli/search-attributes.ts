import { isGrpcServiceError, type Connection } from '@temporalio/client';
import proto from '@temporalio/proto';

const KEYWORD = proto.temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD;
/** gRPC codes: ALREADY_EXISTS; PERMISSION_DENIED and UNIMPLEMENTED of services that let no client register any. */
const THERE_ALREADY = new Set<number>([6]);
const REFUSED = new Set<number>([7, 12]);

/**
 * Makes the search attributes that actors write known to a namespace; repeating it is fine. Temporal Cloud refuses the
 * call: there they are registered once by hand (docs/operating.md).
 * @returns false when the service refused, so that the caller can say so.
 */
export async function registerSearchAttributes(
  connection: Pick<Connection, 'operatorService'>,
  namespace: string,
): Promise<boolean> {
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: {
        CallboardUserId: KEYWORD,
        CallboardSandboxStatus: KEYWORD,
        CallboardStartStatus: KEYWORD,
      },
    });
    return true;
  } catch (err) {
    if (!isGrpcServiceError(err)) throw err;
    if (THERE_ALREADY.has(err.code)) return true;
    if (REFUSED.has(err.code)) return false;
    throw err;
  }
}
