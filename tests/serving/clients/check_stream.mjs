// Follows a version's conformance sequences, minute by minute: node check_stream.mjs STREAM_MODEL.onnx conformance.json
import { readFileSync } from "node:fs";
import ort from "onnxruntime-node";

const [, , model, path] = process.argv;
const { sequences, targets, tolerance } = JSON.parse(readFileSync(path, "utf8"));
const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });

// What the model answers in each minute, for some links side by side. Each link's state is 0 at first.
async function follow(some) {
  const answers = [];
  let state = new ort.Tensor("float32", new Float32Array(some.length * sequences.state_size), [
    some.length,
    sequences.state_size,
  ]);
  for (let minute = 0; minute < some[0].input.length; minute++) {
    const samples = some.flatMap((one) => one.input[minute].map((value) => value ?? NaN));
    const dims = [some.length, 1, samples.length / some.length];
    const found = await session.run({ input: new ort.Tensor("float32", Float32Array.from(samples), dims), state });
    state = found.next_state;
    answers.push(found);
  }
  return answers;
}

let compared = 0;
function hold(some, answers) {
  some.forEach((one, row) => {
    for (const [output, minutes] of Object.entries(one.outputs)) {
      minutes.forEach((expected, minute) =>
        expected.forEach((value, column) => {
          const answer = answers[minute][output].data[row * targets.length + column];
          const allowed = sequences.relative * Math.max(Math.abs(value), tolerance.floors[targets[column]]);
          if (!(Math.abs(answer - value) <= allowed)) {
            const where = `${one.case}, minute ${minute}: ${output} ${targets[column]}`;
            console.error(`${where}: ${answer}, expected ${value} within ${allowed}`);
            process.exit(1);
          }
          compared += 1;
        }),
      );
    }
  });
}

for (const one of sequences.cases) hold([one], await follow([one]));
hold(sequences.cases, await follow(sequences.cases));
console.log(JSON.stringify({ compared }));
