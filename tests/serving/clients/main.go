// A Go service in small: checks the contract with the generated constants, runs the conformance vectors in the real
// ONNX Runtime library, and says how many values it compared.
package main

/*
#cgo LDFLAGS: -ldl
#include "onnx_client.h"
static int open_model(struct onnx_client *client, char *library, char *model) { return onnx_open(client, library, model); }
static int run_model(struct onnx_client *client, char *name, float *windows, int64_t batch, int64_t size,
                     int64_t features, float *answers, int64_t targets) {
	return onnx_run(client, name, windows, batch, size, features, answers, targets);
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
}

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

	client := (*C.struct_onnx_client)(C.calloc(1, C.sizeof_struct_onnx_client))
	if C.open_model(client, C.CString(os.Args[1]), C.CString(predictor.DefaultModelPath)) != 0 {
		must(fmt.Errorf("the model cannot be opened"))
	}
	compared := 0
	for _, one := range published.Cases {
		for output, expected := range one.Outputs {
			window := one.Input
			var answers [predictor.NumOutputs]float32
			if C.run_model(client, C.CString(output), (*C.float)(unsafe.Pointer(&window[0][0])), 1,
				predictor.WindowSize, predictor.NumFeatures, (*C.float)(&answers[0]), predictor.NumOutputs) != 0 {
				must(fmt.Errorf("%s: the model cannot be run", one.Case))
			}
			for place, value := range expected {
				allowed := published.Tolerance.Relative *
					math.Max(math.Abs(value), published.Tolerance.Floors[published.Targets[place]])
				if !(math.Abs(float64(answers[place])-value) <= allowed) {
					must(fmt.Errorf("%s: %s %s: %v, expected %v", one.Case, output, published.Targets[place], answers[place], value))
				}
				compared++
			}
		}
	}
	fmt.Printf("{\"compared\": %d}\n", compared)
}
