/* client LIBRARY MODEL OUTPUT BATCH SIZE FEATURES TARGETS: float32 windows on stdin, float32 answers on stdout. */
#include "onnx_client.h"

int main(int count, char **arguments) {
	struct onnx_client client = {0};
	if (count != 8 || onnx_open(&client, arguments[1], arguments[2]))
		return 2;
	int64_t batch = atoll(arguments[4]), size = atoll(arguments[5]), features = atoll(arguments[6]);
	int64_t targets = atoll(arguments[7]);
	size_t given = (size_t)(batch * size * features), taken = (size_t)(batch * targets);
	float *windows = malloc(given * sizeof(float)), *answers = malloc(taken * sizeof(float));
	if (windows == NULL || answers == NULL || fread(windows, sizeof(float), given, stdin) != given)
		return 2;
	if (onnx_run(&client, arguments[3], windows, batch, size, features, answers, targets))
		return 1;
	fprintf(stderr, "%s\n", client.version);
	return fwrite(answers, sizeof(float), taken, stdout) == taken ? 0 : 2;
}
