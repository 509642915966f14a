import { isGrpcServiceError, type Connection } from '@temporalio/client';
import proto from '@temporalio/proto';

const KEYWORD = proto.temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD;
/** gRPC status codes: the attribute is there already; this service does not let clients register any. */
const ALREADY_EXISTS = 6;
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;

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
    const code = isGrpcServiceError(err) ? Number(err.code) : null;
    if (code === ALREADY_EXISTS) return true;
    if (code === PERMISSION_DENIED || code === UNIMPLEMENTED) return false;
    throw err;
  }
}
