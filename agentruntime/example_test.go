package agentruntime_test

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/fault"
)

func ExampleParseManifest() {
	m, err := agentruntime.ParseManifest([]byte(`{
		"api_version": "agentmarket/v1",
		"name": "greeter",
		"version": "1.0.0",
		"command": ["/greeter"]
	}`))
	fmt.Println(m.Name, m.Version, m.Resources.MemoryMiB, m.Timeouts.RunSeconds, err)
	// Output: greeter 1.0.0 128 300 <nil>
}

func ExampleParseManifest_errors() {
	_, err := agentruntime.ParseManifest([]byte(`{"api_version": "agentmarket/v1", "name": "Greeter", "version": "1"}`))
	for _, field := range fault.From(err).Fields {
		fmt.Println(field.Pointer, field.Message)
	}
	// Output:
	// /name must be 1 to 40 lower-case letters, digits and inner hyphens
	// /version must be a semantic version, MAJOR.MINOR.PATCH or MAJOR.MINOR.PATCH-PRERELEASE, of at most 64 characters
	// /command must have 1 to 64 items
}

// The platform's side of a result: the envelope from the termination message,
// the body from the log where it is too large for the envelope.
func ExampleReadFrames() {
	result := []byte(`"` + strings.Repeat("long ", 1000) + `"`)
	zero := 0
	envelope := agentruntime.Envelope{V: 1, Run: "run_01jd3m0f9zq4x8v5c7n2b6k1ta", Attempt: 1, Outcome: agentruntime.OK,
		ExitCode: &zero, StartedAt: time.Unix(0, 0), FinishedAt: time.Unix(1, 0)}
	if !envelope.SetResult(result) {
		envelope.Frame = "00112233445566778899aabbccddeeff" // drawn at random
	}
	log := bytes.NewBufferString("working\n")
	_ = agentruntime.WriteFrames(log, envelope.Frame, result)
	message, _ := envelope.Encode()

	got, err := agentruntime.ParseEnvelope(message)
	body := []byte(got.Result)
	if err == nil && got.Frame != "" {
		body, err = agentruntime.ReadFrames(log, got.Frame)
	}
	if err == nil {
		err = got.VerifyBody(body)
	}
	fmt.Println(got.Outcome, len(body), err)
	// Output: ok 5002 <nil>
}

func ExampleLaunch_Args() {
	args := agentruntime.Launch{
		Run: "run_01jd3m0f9zq4x8v5c7n2b6k1ta", Attempt: 1,
		RunTimeout: 5 * time.Minute, Grace: 10 * time.Second,
		Command: []string{"/hello"},
	}.Args()
	fmt.Println(strings.Join(args, " "))
	// Output: run --run-id=run_01jd3m0f9zq4x8v5c7n2b6k1ta --attempt=1 --run-timeout=5m0s --grace=10s -- /hello
}
