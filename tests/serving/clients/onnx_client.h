/* A model in the real ONNX Runtime library, through its C API, without the library's header.
 *
 * The library hands out a table of functions that only ever grows at its end (version 1 of the API, 2019, had these
 * already), so their places are fixed; they are the only thing of the header that is needed here.
 */
#ifndef ONNX_CLIENT_H
#define ONNX_CLIENT_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	GET_ERROR_MESSAGE = 2,
	CREATE_ENV = 3,
	CREATE_SESSION = 7,
	RUN = 9,
	CREATE_SESSION_OPTIONS = 10,
	CREATE_TENSOR_WITH_DATA = 49,
	GET_TENSOR_MUTABLE_DATA = 51,
	CREATE_CPU_MEMORY_INFO = 69,
	RELEASE_VALUE = 96,
	API_VERSION = 1,
	FLOAT32 = 1,
	WARNING = 3,
	ARENA_ALLOCATOR = 1,
	DEFAULT_MEMORY = 0
};

typedef void *(*function)();

struct api_base {
	function *(*get_api)(uint32_t);
	const char *(*get_version)(void);
};

struct onnx_client {
	function *api;
	void *session, *memory;
	const char *version;
};

static int onnx_failed(const struct onnx_client *client, void *status) {
	if (status != NULL)
		fprintf(stderr, "ONNX Runtime: %s\n", (const char *)client->api[GET_ERROR_MESSAGE](status));
	return status != NULL;
}

/* Opens `model` in the library at `library`; 0 if that worked. */
static int onnx_open(struct onnx_client *client, const char *library, const char *model) {
	void *handle = dlopen(library, RTLD_NOW), *env = NULL, *options = NULL;
	if (handle == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	struct api_base *base = ((struct api_base *(*)(void))dlsym(handle, "OrtGetApiBase"))();
	client->version = base->get_version();
	client->api = base->get_api(API_VERSION);
	return onnx_failed(client, client->api[CREATE_ENV](WARNING, "client", &env)) ||
	       onnx_failed(client, client->api[CREATE_SESSION_OPTIONS](&options)) ||
	       onnx_failed(client, client->api[CREATE_SESSION](env, model, options, &client->session)) ||
	       onnx_failed(client, client->api[CREATE_CPU_MEMORY_INFO](ARENA_ALLOCATOR, DEFAULT_MEMORY, &client->memory));
}

struct onnx_array {
	const char *name;
	float *values;
	int64_t shape[3];
	size_t rank;
};

static size_t onnx_count(const struct onnx_array *array) {
	size_t count = 1;
	for (size_t axis = 0; axis < array->rank; axis++)
		count *= (size_t)array->shape[axis];
	return count;
}

/* Runs the model on 1 or 2 inputs and fills 1 or 2 outputs; 0 if fine. */
static int onnx_call(struct onnx_client *client, const struct onnx_array *inputs, size_t given,
                     const struct onnx_array *outputs, size_t taken) {
	const char *input_names[2], *output_names[2];
	void *input_values[2] = {NULL, NULL}, *output_values[2] = {NULL, NULL};
	int failed = 0;
	for (size_t place = 0; place < given && !failed; place++) {
		input_names[place] = inputs[place].name;
		failed = onnx_failed(client, client->api[CREATE_TENSOR_WITH_DATA](
		                                 client->memory, (void *)inputs[place].values,
		                                 onnx_count(&inputs[place]) * sizeof(float), inputs[place].shape,
		                                 inputs[place].rank, FLOAT32, &input_values[place]));
	}
	for (size_t place = 0; place < taken; place++)
		output_names[place] = outputs[place].name;
	failed = failed || onnx_failed(client, client->api[RUN](client->session, NULL, input_names, input_values, given,
	                                                        output_names, taken, output_values));
	for (size_t place = 0; place < taken && !failed; place++) {
		float *values = NULL;
		failed = onnx_failed(client, client->api[GET_TENSOR_MUTABLE_DATA](output_values[place], (void **)&values));
		if (!failed)
			memcpy(outputs[place].values, values, onnx_count(&outputs[place]) * sizeof(float));
	}
	for (size_t place = 0; place < 2; place++) {
		client->api[RELEASE_VALUE](input_values[place]);
		client->api[RELEASE_VALUE](output_values[place]);
	}
	return failed;
}

/* Fills `answers` [batch * targets] with the output called `name` for `windows` [batch, size, features]; 0 if fine. */
static inline int onnx_run(struct onnx_client *client, const char *name, float *windows, int64_t batch, int64_t size,
                           int64_t features, float *answers, int64_t targets) {
	struct onnx_array input = {"input", windows, {batch, size, features}, 3};
	struct onnx_array output = {name, answers, {batch, targets}, 2};
	return onnx_call(client, &input, 1, &output, 1);
}

/* One minute: fills `answers` [batch * targets] for `samples` [batch, 1, features], NaN where a value is missing, and
 * replaces `state` [batch, size], all 0 at first; 0 if fine. */
static inline int onnx_step(struct onnx_client *client, const char *name, float *samples, int64_t batch,
                            int64_t features, float *state, int64_t size, float *answers, int64_t targets) {
	struct onnx_array inputs[2] = {{"input", samples, {batch, 1, features}, 3}, {"state", state, {batch, size}, 2}};
	struct onnx_array outputs[2] = {{name, answers, {batch, targets}, 2}, {"next_state", state, {batch, size}, 2}};
	return onnx_call(client, inputs, 2, outputs, 2);
}

#endif
