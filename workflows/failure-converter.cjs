/**
 * Puts message and stack of every failure into a payload, where the codec encrypts them: a codec alone leaves them
 * readable in histories. Loaded by path, with `require`, in clients, workers and the workflow bundle.
 */
const { DefaultFailureConverter } = require('@temporalio/common');

exports.failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
