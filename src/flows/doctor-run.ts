import { coerceError } from "../domain/errors.ts";
import { CHECKS, type CheckName, type Finding } from "../domain/finding.ts";

/** One look at something, which may come to several findings. */
export interface DoctorCheck {
  name: CheckName;
  account?: string;
  run: () => Promise<Finding[]>;
}

const DEADLINE_MS = 30_000;

/**
 * Runs all checks at once, each until its deadline, and gives what they found in the order of CHECKS. `onWaiting` is told what is still
 * under way, whenever that changes.
 */
export async function runChecks(
  checks: readonly DoctorCheck[],
  onWaiting: (names: readonly string[]) => void = () => undefined,
  deadlineMs = DEADLINE_MS,
): Promise<Finding[]> {
  const waiting = [...checks];
  const tell = (): void => onWaiting([...new Set(waiting.map(({ name }) => name))]);
  tell();
  const found = await Promise.all(
    checks.map(async (check) => {
      const findings = await withinDeadline(check, deadlineMs);
      waiting.splice(waiting.indexOf(check), 1);
      tell();
      return findings;
    }),
  );
  // Stable: the findings of one check stay in their order.
  return found.flat().toSorted((a, b) => CHECKS.indexOf(a.check) - CHECKS.indexOf(b.check));
}

async function withinDeadline({ name: check, account, run }: DoctorCheck, ms: number): Promise<Finding[]> {
  const whose = account === undefined ? {} : { account };
  const late = Promise.withResolvers<Finding[]>();
  const timer = setTimeout(() => {
    const text = `no result within ${Math.round(ms / 1_000)} s`;
    late.resolve([{ check, code: "timed_out", level: "warning", ...whose, text, mend: "run the doctor again" }]);
  }, ms);
  try {
    return await Promise.race([run(), late.promise]);
  } catch (thrown) {
    const mend = "this is a defect of the doctor; please report it";
    return [{ check, code: "internal", level: "error", ...whose, text: coerceError(thrown).message, mend }];
  } finally {
    clearTimeout(timer);
  }
}
