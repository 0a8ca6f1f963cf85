package agentruntime_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
)

const smallest = `{"api_version":"agentmarket/v1","name":"greeter","version":"1.0.0","command":["/greeter"]}`

func TestParseManifestFillsInDefaults(t *testing.T) {
	m, err := agentruntime.ParseManifest([]byte(smallest))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(agentruntime.Manifest{
		APIVersion: "agentmarket/v1", Name: "greeter", Version: "1.0.0", Command: []string{"/greeter"},
		Resources: agentruntime.Resources{CPUMillis: 500, MemoryMiB: 128, DiskMiB: 64},
		Timeouts:  agentruntime.Timeouts{RunSeconds: 300, StartSeconds: 120, GraceSeconds: 10},
	}, m))
}

func TestParseManifestKeepsWhatIsSaid(t *testing.T) {
	m, err := agentruntime.ParseManifest([]byte(`{
		"api_version": "agentmarket/v1", "name": "a", "version": "0.1.0-rc.1", "summary": "Größe ✓",
		"command": ["sh", "-c", "echo '{}'", ""],
		"input_schema": { "type": "object" }, "output_schema": true,
		"resources": {"cpu_millis": 10}, "timeouts": {"grace_seconds": 0}, "retry": {"max_attempts": 3},
		"env": {"MODE": "fast"},
		"tools": ["search"], "secrets": ["TOKEN"], "egress": ["b.example.com", "a.example.com:443"]}`))
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"object"}`, string(m.InputSchema))
	require.Equal(t, "true", string(m.OutputSchema))
	require.Equal(t, agentruntime.Resources{CPUMillis: 10, MemoryMiB: 128, DiskMiB: 64}, m.Resources)
	require.Equal(t, agentruntime.Timeouts{RunSeconds: 300, StartSeconds: 120}, m.Timeouts, "an explicit 0 is no default")
	require.EqualValues(t, 3, m.MaxAttempts())
	require.Equal(t, map[string]string{"MODE": "fast"}, m.Env)
	require.Equal(t, []string{"search"}, m.Tools)
	require.Equal(t, []string{"TOKEN"}, m.Secrets)
	require.Equal(t, []string{"b.example.com", "a.example.com:443"}, m.Egress)
}

// with returns the smallest manifest with one field set to a JSON value.
func with(field, value string) string {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(smallest), &object); err != nil {
		panic(err)
	}
	object[field] = json.RawMessage(value)
	data, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func quoted(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

func manyEnv(n int) string {
	env := map[string]string{}
	for i := range n {
		env[fmt.Sprintf("V%d", i)] = ""
	}
	data, _ := json.Marshal(env)
	return string(data)
}

func TestParseManifestNamesTheWrongField(t *testing.T) {
	long := func(n int) string { return quoted(strings.Repeat("x", n)) }
	for _, c := range []struct{ field, value, pointer string }{
		{"api_version", `"agentmarket/v2"`, "/api_version"},
		{"api_version", `""`, "/api_version"},
		{"name", `""`, "/name"},
		{"name", `"Upper"`, "/name"},
		{"name", `"-a"`, "/name"},
		{"name", `"a-"`, "/name"},
		{"name", `"a\n"`, "/name"},
		{"name", long(41), "/name"},
		{"name", `7`, "/name"},
		{"version", `"1.0"`, "/version"},
		{"version", `"v1.0.0"`, "/version"},
		{"version", `"01.0.0"`, "/version"},
		{"version", `"1.0.0+build"`, "/version"},
		{"version", `"1.0.0-01"`, "/version"},
		{"version", `"1.0.0-"`, "/version"},
		{"version", `"1.0.0-` + strings.Repeat("a", 64) + `"`, "/version"},
		{"summary", long(201), "/summary"},
		{"summary", `"two\nlines"`, "/summary"},
		{"command", `[]`, "/command"},
		{"command", `"sh"`, "/command"},
		{"command", `[""]`, "/command/0"},
		{"command", `["a","b\u0000"]`, "/command/1"},
		{"command", `["a",` + long(4097) + `]`, "/command/1"},
		{"command", "[" + strings.Repeat(`"a",`, 64) + `"a"]`, "/command"},
		{"input_schema", `"string"`, "/input_schema"},
		{"input_schema", `[]`, "/input_schema"},
		{"output_schema", `7`, "/output_schema"},
		{"output_schema", `{"title":` + long(64<<10) + `}`, "/output_schema"},
		{"resources", `{"cpu_millis":9}`, "/resources/cpu_millis"},
		{"resources", `{"cpu_millis":64001}`, "/resources/cpu_millis"},
		{"resources", `{"cpu_millis":0.5}`, "/resources/cpu_millis"},
		{"resources", `{"memory_mib":15}`, "/resources/memory_mib"},
		{"resources", `{"memory_mib":262145}`, "/resources/memory_mib"},
		{"resources", `{"disk_mib":0}`, "/resources/disk_mib"},
		{"resources", `{"disk_mib":102401}`, "/resources/disk_mib"},
		{"resources", `{"gpu":1}`, "/resources/gpu"},
		{"timeouts", `{"run_seconds":0}`, "/timeouts/run_seconds"},
		{"timeouts", `{"run_seconds":86401}`, "/timeouts/run_seconds"},
		{"timeouts", `{"start_seconds":4}`, "/timeouts/start_seconds"},
		{"timeouts", `{"start_seconds":3601}`, "/timeouts/start_seconds"},
		{"timeouts", `{"grace_seconds":-1}`, "/timeouts/grace_seconds"},
		{"timeouts", `{"grace_seconds":601}`, "/timeouts/grace_seconds"},
		{"retry", `{"max_attempts":0}`, "/retry/max_attempts"},
		{"retry", `{"max_attempts":11}`, "/retry/max_attempts"},
		{"retry", `{"max_attempts":-1}`, "/retry/max_attempts"},
		{"retry", `{"max_attempts":"2"}`, "/retry/max_attempts"},
		{"retry", `{"backoff":1}`, "/retry/backoff"},
		{"retry", `2`, "/retry"},
		{"env", manyEnv(33), "/env"},
		{"env", `{"lower":""}`, "/env/lower"},
		{"env", `{"A/B":""}`, "/env/A~1B"},
		{"env", `{"AGENT_X":""}`, "/env/AGENT_X"},
		{"env", `{"HOME":"/"}`, "/env/HOME"},
		{"env", `{"X":"a\u0000"}`, "/env/X"},
		{"env", `{"X":` + long(4097) + `}`, "/env/X"},
		{"tools", `"search"`, "/tools"},
		{"secrets", `{"TOKEN":true}`, "/secrets"},
		{"egress", `[7]`, "/egress"},
		{"Egress", `[]`, "/Egress"},
		{"Name", `"x"`, "/Name"},
		{"a~b", `1`, "/a~0b"},
	} {
		t.Run(c.field+" "+c.pointer, func(t *testing.T) {
			_, err := agentruntime.ParseManifest([]byte(with(c.field, c.value)))
			require.True(t, fault.Is(err, fault.Invalid), "%v", err)
			fields := fault.From(err).Fields
			require.NotEmpty(t, fields)
			require.Equal(t, c.pointer, fields[0].Pointer, fields[0].Message)
		})
	}
}

// TestNoRetryIsTheDefault: a manifest that says so has the JSON of one that says
// nothing.
func TestNoRetryIsTheDefault(t *testing.T) {
	plain, err := agentruntime.ParseManifest([]byte(smallest))
	require.NoError(t, err)
	require.EqualValues(t, 1, plain.MaxAttempts())
	for _, value := range []string{`null`, `{}`, `{"max_attempts":1}`, `{"max_attempts":null}`} {
		m, err := agentruntime.ParseManifest([]byte(with("retry", value)))
		require.NoError(t, err, value)
		require.Empty(t, cmp.Diff(plain, m), value)
	}
	m, err := agentruntime.ParseManifest([]byte(with("retry", `{"max_attempts":10}`)))
	require.NoError(t, err)
	require.EqualValues(t, 10, m.MaxAttempts())
	text, err := json.Marshal(m)
	require.NoError(t, err)
	require.Contains(t, string(text), `"retry":{"max_attempts":10}`)
	text, err = json.Marshal(plain)
	require.NoError(t, err)
	require.NotContains(t, string(text), "retry")
}

func TestParseManifestCollectsAllErrors(t *testing.T) {
	_, err := agentruntime.ParseManifest([]byte(`{"name":"X","resources":{"cpu_millis":1},"env":{"a":"","b":""}}`))
	var pointers []string
	for _, f := range fault.From(err).Fields {
		pointers = append(pointers, f.Pointer)
	}
	require.Equal(t, []string{"/api_version", "/name", "/version", "/command", "/resources/cpu_millis", "/env/a", "/env/b"}, pointers)
}

func TestParseManifestRefusesWhatIsNoManifest(t *testing.T) {
	for _, text := range []string{"", "null", "[]", "{", smallest + smallest, "\xff", strings.Repeat("[", 20000)} {
		_, err := agentruntime.ParseManifest([]byte(text))
		require.True(t, fault.Is(err, fault.Invalid), "%.20q: %v", text, err)
	}
	_, err := agentruntime.ParseManifest(make([]byte, agentruntime.MaxManifestBytes+1))
	require.True(t, fault.Is(err, fault.TooLarge))
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(smallest))
	f.Add([]byte(with("input_schema", `{"a":"<&>\u2028"}`)))
	f.Add([]byte(with("env", `{"A":"1"}`)))
	f.Add([]byte(with("resources", `null`)))
	f.Add([]byte(with("tools", `[]`)))
	f.Add([]byte(with("retry", `{"max_attempts":2}`)))
	f.Add([]byte(with("egress", `["*.example.com:443"]`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := agentruntime.ParseManifest(data)
		if err != nil {
			require.NotEqual(t, fault.Internal, fault.KindOf(err))
			return
		}
		once, err := json.Marshal(m)
		require.NoError(t, err)
		again, err := agentruntime.ParseManifest(once)
		require.NoError(t, err, "%s", once)
		twice, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice), "marshal(parse(x)) is stable")
	})
}
