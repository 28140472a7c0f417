/** Prints "<passed> <failed>" of a vitest JSON report, for the closing line of .ci/run. */
import { readFileSync } from "node:fs";

const file = process.argv[2] ?? "";
try {
  const report = JSON.parse(readFileSync(file, "utf8")) as {
    numPassedTests: number;
    numFailedTests: number;
    numFailedTestSuites: number;
  };
  console.log(report.numPassedTests, Math.max(report.numFailedTests, report.numFailedTestSuites > 0 ? 1 : 0));
} catch {
  console.log(0, 1);
}
