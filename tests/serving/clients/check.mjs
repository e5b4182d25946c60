// Runs a version's conformance vectors by ONNX Runtime's Node.js package: node check.mjs MODEL.onnx conformance.json
import { readFileSync } from "node:fs";
import ort from "onnxruntime-node";

const [, , model, path] = process.argv;
const { cases, targets, tolerance } = JSON.parse(readFileSync(path, "utf8"));
const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });

async function answers(some) {
  const dims = [some.length, some[0].input.length, some[0].input[0].length];
  const data = Float32Array.from(some.flatMap((one) => one.input.flat()));
  return session.run({ input: new ort.Tensor("float32", data, dims) });
}

let compared = 0;
function hold(some, found) {
  some.forEach((one, row) => {
    for (const [output, expected] of Object.entries(one.outputs)) {
      expected.forEach((value, column) => {
        const answer = found[output].data[row * targets.length + column];
        const allowed = tolerance.relative * Math.max(Math.abs(value), tolerance.floors[targets[column]]);
        if (!(Math.abs(answer - value) <= allowed)) {
          console.error(`${one.case}: ${output} ${targets[column]}: ${answer}, expected ${value} within ${allowed}`);
          process.exit(1);
        }
        compared += 1;
      });
    }
  });
}

for (const one of cases) hold([one], await answers([one]));
hold(cases, await answers(cases));
console.log(JSON.stringify({ compared }));
