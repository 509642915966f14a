interface Waiting<Question, Answer> {
  question: Question;
  resolve: (answer: Answer) => void;
  reject: (reason: unknown) => void;
}

/**
 * Answers by one call whatever is asked within one turn of the event loop: questions that many clients ask at the same
 * time cost one statement. The call begins after the last of its questions was asked, so that no answer is older than
 * its question. If it fails, it fails for each of them. It runs in the asynchronous context of whoever asked first, and
 * so must not depend on any; that nobody gets what is another's is for `answer` to see to, question by question.
 * @param answer returns one answer per question, in the order of the questions
 */
export function askedTogether<Question, Answer>(
  answer: (questions: readonly Question[]) => Promise<readonly Answer[]>,
): (question: Question) => Promise<Answer> {
  let waiting: Waiting<Question, Answer>[] = [];

  const work = async (): Promise<void> => {
    const group = waiting;
    waiting = [];
    try {
      const answers = await answer(group.map(({ question }) => question));
      group.forEach(({ resolve }, position) => resolve(answers[position] as Answer));
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  };

  return (question) =>
    new Promise((resolve, reject) => {
      if (waiting.length === 0) setImmediate(() => void work());
      waiting.push({ question, resolve, reject });
    });
}
