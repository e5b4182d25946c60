/* stream_client LIBRARY MODEL OUTPUT BATCH MINUTES FEATURES TARGETS STATE: float32 samples [batch, minutes, features] on
 * stdin, float32 answers [batch, minutes, targets] on stdout; the state of each link is carried from minute to minute. */
#include "onnx_client.h"

int main(int count, char **arguments) {
	struct onnx_client client = {0};
	if (count != 9 || onnx_open(&client, arguments[1], arguments[2]))
		return 2;
	int64_t batch = atoll(arguments[4]), minutes = atoll(arguments[5]), features = atoll(arguments[6]);
	int64_t targets = atoll(arguments[7]), size = atoll(arguments[8]);
	size_t given = (size_t)(batch * minutes * features), taken = (size_t)(batch * minutes * targets);
	float *samples = malloc(given * sizeof(float)), *answers = malloc(taken * sizeof(float));
	float *minute = malloc((size_t)(batch * features) * sizeof(float));
	float *answer = malloc((size_t)(batch * targets) * sizeof(float));
	float *state = calloc((size_t)(batch * size), sizeof(float));
	if (!samples || !answers || !minute || !answer || !state || fread(samples, sizeof(float), given, stdin) != given)
		return 2;
	for (int64_t at = 0; at < minutes; at++) {
		for (int64_t link = 0; link < batch; link++)
			memcpy(minute + link * features, samples + (link * minutes + at) * features,
			       (size_t)features * sizeof(float));
		if (onnx_step(&client, arguments[3], minute, batch, features, state, size, answer, targets))
			return 1;
		for (int64_t link = 0; link < batch; link++)
			memcpy(answers + (link * minutes + at) * targets, answer + link * targets,
			       (size_t)targets * sizeof(float));
	}
	return fwrite(answers, sizeof(float), taken, stdout) == taken ? 0 : 2;
}
