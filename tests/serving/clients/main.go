// A Go service in small: checks the contract with the generated constants, runs the conformance vectors in the real
// ONNX Runtime library, and says how many values it compared: client LIBRARY conformance.json [STREAM_MODEL.onnx].
package main

/*
#cgo LDFLAGS: -ldl
#include "onnx_client.h"
static int open_model(struct onnx_client *client, char *library, char *model) { return onnx_open(client, library, model); }
static int run_model(struct onnx_client *client, char *name, float *windows, int64_t batch, int64_t size,
                     int64_t features, float *answers, int64_t targets) {
	return onnx_run(client, name, windows, batch, size, features, answers, targets);
}
static int step_model(struct onnx_client *client, char *name, float *samples, int64_t batch, int64_t features,
                      float *state, int64_t size, float *answers, int64_t targets) {
	return onnx_step(client, name, samples, batch, features, state, size, answers, targets);
}
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"unsafe"

	"example.com/client/predictor"
)

type vectors struct {
	Targets   []string `json:"targets"`
	Tolerance struct {
		Relative float64            `json:"relative"`
		Floors   map[string]float64 `json:"floors"`
	} `json:"tolerance"`
	Cases []struct {
		Case    string                                               `json:"case"`
		Input   [predictor.WindowSize][predictor.NumFeatures]float32 `json:"input"`
		Outputs map[string][predictor.NumOutputs]float64             `json:"outputs"`
	} `json:"cases"`
	Sequences struct {
		StateSize int        `json:"state_size"`
		Relative  float64    `json:"relative"`
		Cases     []sequence `json:"cases"`
	} `json:"sequences"`
}

type sequence struct {
	Case    string                                     `json:"case"`
	Input   [][predictor.NumFeatures]*float32          `json:"input"` // nil where a value is missing
	Outputs map[string][][predictor.NumOutputs]float64 `json:"outputs"`
}

type answer [predictor.NumOutputs]float32

var compared = 0

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	metadata, err := os.ReadFile(predictor.DefaultMetadataPath)
	must(err)
	must(predictor.CheckMetadata(metadata))
	content, err := os.ReadFile(os.Args[2])
	must(err)
	var published vectors
	must(json.Unmarshal(content, &published))

	checkWindows(open(os.Args[1], predictor.DefaultModelPath), &published)
	if len(os.Args) > 3 {
		checkSequences(open(os.Args[1], os.Args[3]), &published)
	}
	fmt.Printf("{\"compared\": %d}\n", compared)
}

func open(library, model string) *C.struct_onnx_client {
	client := (*C.struct_onnx_client)(C.calloc(1, C.sizeof_struct_onnx_client))
	if C.open_model(client, C.CString(library), C.CString(model)) != 0 {
		must(fmt.Errorf("%s cannot be opened", model))
	}
	return client
}

func floats[T any](first *T) *C.float {
	return (*C.float)(unsafe.Pointer(first))
}

func checkWindows(client *C.struct_onnx_client, published *vectors) {
	for _, one := range published.Cases {
		for output, expected := range one.Outputs {
			window := one.Input
			var found answer
			if C.run_model(client, C.CString(output), floats(&window), 1, predictor.WindowSize,
				predictor.NumFeatures, floats(&found), predictor.NumOutputs) != 0 {
				must(fmt.Errorf("%s: the model cannot be run", one.Case))
			}
			published.compare(one.Case+": "+output, found, expected, published.Tolerance.Relative)
		}
	}
}

// checkSequences follows all links side by side, as a service does each minute, and then each link alone.
func checkSequences(client *C.struct_onnx_client, published *vectors) {
	links := published.Sequences.Cases
	published.follow(client, links)
	for link := range links {
		published.follow(client, links[link:link+1])
	}
}

func (published *vectors) follow(client *C.struct_onnx_client, links []sequence) {
	size := published.Sequences.StateSize
	for output := range links[0].Outputs {
		state := make([]float32, len(links)*size) // 0: links that were never seen
		answers := make([]answer, len(links))
		for minute := range links[0].Input {
			samples := samplesOf(links, minute)
			if C.step_model(client, C.CString(output), floats(&samples[0]), C.int64_t(len(links)), predictor.NumFeatures,
				floats(&state[0]), C.int64_t(size), floats(&answers[0]), predictor.NumOutputs) != 0 {
				must(fmt.Errorf("minute %d: the model cannot be run", minute))
			}
			for link, one := range links {
				where := fmt.Sprintf("%s, minute %d: %s", one.Case, minute, output)
				published.compare(where, answers[link], one.Outputs[output][minute], published.Sequences.Relative)
			}
		}
	}
}

// samplesOf one minute, of each link, with NaN where a value is missing.
func samplesOf(links []sequence, minute int) [][predictor.NumFeatures]float32 {
	samples := make([][predictor.NumFeatures]float32, len(links))
	for link, one := range links {
		for column, value := range one.Input[minute] {
			samples[link][column] = float32(math.NaN())
			if value != nil {
				samples[link][column] = *value
			}
		}
	}
	return samples
}

func (published *vectors) compare(where string, found answer, expected [predictor.NumOutputs]float64, relative float64) {
	for place, value := range expected {
		target := published.Targets[place]
		allowed := relative * math.Max(math.Abs(value), published.Tolerance.Floors[target])
		if !(math.Abs(float64(found[place])-value) <= allowed) {
			must(fmt.Errorf("%s %s: %v, expected %v", where, target, found[place], value))
		}
		compared++
	}
}
