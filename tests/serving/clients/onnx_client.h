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

enum {
	GET_ERROR_MESSAGE = 2,
	CREATE_ENV = 3,
	CREATE_SESSION = 7,
	RUN = 9,
	CREATE_SESSION_OPTIONS = 10,
	CREATE_TENSOR_WITH_DATA = 49,
	GET_TENSOR_MUTABLE_DATA = 51,
	CREATE_CPU_MEMORY_INFO = 69,
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

/* Fills `answers` [batch * targets] with the output called `name` for `windows` [batch, size, features]; 0 if fine. */
static int onnx_run(struct onnx_client *client, const char *name, const float *windows, int64_t batch, int64_t size,
                    int64_t features, float *answers, int64_t targets) {
	int64_t shape[3] = {batch, size, features};
	const char *input_name = "input";
	void *input = NULL, *output = NULL;
	float *values = NULL;
	if (onnx_failed(client, client->api[CREATE_TENSOR_WITH_DATA](client->memory, (void *)windows,
	                                                            (size_t)(batch * size * features) * sizeof(float),
	                                                            shape, (size_t)3, FLOAT32, &input)) ||
	    onnx_failed(client, client->api[RUN](client->session, NULL, &input_name, &input, (size_t)1, &name, (size_t)1,
	                                         &output)) ||
	    onnx_failed(client, client->api[GET_TENSOR_MUTABLE_DATA](output, (void **)&values)))
		return 1;
	for (int64_t place = 0; place < batch * targets; place++)
		answers[place] = values[place];
	return 0;
}

#endif
